"""Record who changed what."""
