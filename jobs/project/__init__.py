"""What keeps a project up to date: its corrections, its champion, its settings."""
