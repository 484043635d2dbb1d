"""The database member of this node: its program, process, clients and first start."""
