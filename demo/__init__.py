"""The demonstration: three real nodes on this machine, and a load balancer."""
