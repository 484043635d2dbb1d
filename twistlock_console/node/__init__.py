"""The node process: its parts, its start and its stop."""
