"""The `predict` pipeline: the best image of each group, and how to crop it."""
