"""The paths in the settings: their state on this host, and rules for their use."""
