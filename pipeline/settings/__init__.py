"""What can be set: the table, what a value may be, where values come from."""
