"""The format of a backup: file, manifest, documents."""
