"""Who may use the Console: users, roles, passwords, sessions and their rules."""
