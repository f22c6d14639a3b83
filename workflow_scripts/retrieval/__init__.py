"""The `retrieval` pipeline: concept folders to a training set of hard comparisons."""
