"""The backup volume, and the work folder of a backup."""
