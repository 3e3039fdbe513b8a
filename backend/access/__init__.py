"""Authentication: accounts, webhook secrets, failed logins, the session key."""
