"""Scripts of the Makefile that run before anything is installed, with the standard library only."""
