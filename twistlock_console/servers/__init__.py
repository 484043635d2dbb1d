"""Open and close the service servers of a node."""
