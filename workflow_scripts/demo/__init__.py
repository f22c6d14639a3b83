"""Drawn data with known truth, and the small models trained on it."""

NOTE = "The images and the model are toys drawn and trained here: they prove the workflow, not accuracy on photographs.\n"
