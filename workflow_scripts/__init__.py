"""The Python of Darkroom: what the rules call."""
