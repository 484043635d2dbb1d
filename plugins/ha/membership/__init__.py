"""Add, remove and recover the nodes of the cluster."""
