"""`make image`: builds the container image without a container engine, and tries it."""
