"""Set up logging, write the log file and read it back."""
