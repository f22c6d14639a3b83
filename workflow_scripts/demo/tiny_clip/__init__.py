"""A tiny CLIP for the demo: examples with known truth, what it learns from them, and how well it does."""
