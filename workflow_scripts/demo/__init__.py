"""Drawn data with known truth, and the small models trained on it."""
