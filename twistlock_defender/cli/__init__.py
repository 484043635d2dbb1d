"""Commands of the Defender."""
