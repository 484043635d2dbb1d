"""Commands of high availability."""
