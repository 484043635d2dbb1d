"""Run the role of this node: one deciding thread and the executors of its actions."""
