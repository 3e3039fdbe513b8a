"""The commands of `captionloop`, a module for each group."""
