"""The commands of the Defender."""
