"""The format of a backup: archive, manifest, names."""
