"""Send alerts by webhook and syslog when a problem begins and when it is over."""
