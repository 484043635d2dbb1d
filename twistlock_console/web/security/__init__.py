"""Sessions, guards and login attempts of pages and API."""
