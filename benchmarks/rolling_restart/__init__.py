"""Two servers behind a proxy, restarted one after the other."""
