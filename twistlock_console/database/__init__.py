"""Our own database member: its program, its process, its clients, its first start."""
