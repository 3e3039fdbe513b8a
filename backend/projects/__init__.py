"""Projects that are connected, each with the secret of its webhook."""
