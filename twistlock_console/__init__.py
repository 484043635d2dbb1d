"""The Console: the management server of a fleet of Defenders."""

__version__ = "26.11.1"
