"""Run backup jobs in a worker process, one at a time, and record them."""
