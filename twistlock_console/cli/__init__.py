"""Commands of the Console."""
