"""Replays a labelled dataset as if people corrected it, strategy against strategy."""
