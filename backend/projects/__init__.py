"""Connected projects and their webhook secrets."""
