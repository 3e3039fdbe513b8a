"""Active learning: strategies that choose the next tasks to annotate, and each project's settings for them."""
