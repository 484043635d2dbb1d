"""Define events, and the bus that delivers them."""
