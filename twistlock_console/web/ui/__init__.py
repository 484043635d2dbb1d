"""Layout, templates, plots and static files of the pages."""
