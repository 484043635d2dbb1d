"""Menu, banners, plots and static files."""
