"""The versions that are kept, each with its manifest, its card and its report."""
