"""Everything that faces people or Label Studio: HTTP, command line, Label Studio's API."""
