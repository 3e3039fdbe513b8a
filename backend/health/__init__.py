"""Health checks of `captionloop doctor` and the page Health."""
