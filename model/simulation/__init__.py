"""Active-learning experiments: replays a labelled dataset as corrections, strategy against strategy."""
