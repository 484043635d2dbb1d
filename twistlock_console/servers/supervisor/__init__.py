"""Start, supervise and fence the processes of the service servers."""
