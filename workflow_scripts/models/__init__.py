"""Steps that fetch and verify model weights."""
