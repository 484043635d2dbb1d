"""Keep the connection to the Console."""
