"""Watch processes and enforce rules on them."""
