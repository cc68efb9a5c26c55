"""How fast it is on a GPU."""
