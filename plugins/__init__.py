"""Plugins of the Console; each is a room that stands on `twistlock_console`."""
