"""What the Makefile runs before anything of ours is installed: the standard library alone."""
