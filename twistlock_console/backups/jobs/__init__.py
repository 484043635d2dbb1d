"""Queue backup jobs and run them in a worker process."""
