"""Label Studio projects of directories of pictures."""
