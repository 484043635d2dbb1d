"""The service servers: child processes that are open only while this node serves."""
