"""Create, verify and restore backups."""
