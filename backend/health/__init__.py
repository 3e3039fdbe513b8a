"""What is well and what is not: the checks of `captionloop doctor` and of the page Health."""
