"""Groups of drawn images with a known best one, and what the demo's small ranker and crop proposer learn from them."""
