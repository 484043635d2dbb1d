"""Manage users, roles, passwords and sessions, and the rules for them."""
