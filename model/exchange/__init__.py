"""Dataset import and export."""
