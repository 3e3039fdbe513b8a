"""A BLIP checkpoint: where it comes from, how it is loaded, what goes into it and how it generates."""
