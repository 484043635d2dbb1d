"""The backup volume, and the work on a backup: folder, progress, result."""
