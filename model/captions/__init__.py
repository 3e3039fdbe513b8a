"""A caption as text: what counts as the same, how it is written, its tokens for the metrics."""
