"""Watch files and compare them with a baseline."""
