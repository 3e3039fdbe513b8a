"""Whom to ask next: strategies for choosing tasks, and what each project set for them."""
