"""Do what pages and API have in common."""
