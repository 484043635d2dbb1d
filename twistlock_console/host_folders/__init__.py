"""The paths in the settings: what is there on this host, and whether it may be used."""
