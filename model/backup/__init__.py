"""Everything of an installation as one file, and back."""
