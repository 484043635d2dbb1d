"""Read and command the replica set, and store the lease."""
