"""The people pipeline: take images with people out of a set."""
