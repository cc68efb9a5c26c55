"""What a scenario says: who calls and with what, what work costs, and what goes wrong."""
