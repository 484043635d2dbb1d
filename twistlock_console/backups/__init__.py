"""Create, verify and restore backups, on request and by a schedule."""
