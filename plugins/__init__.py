"""Plugins of the Console; each is a package that uses `twistlock_console`."""
