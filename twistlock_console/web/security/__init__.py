"""Sessions, guards and headers of pages and API."""
