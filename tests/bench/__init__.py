"""Benches: figures as ratios within one run, that anyone can repeat."""
