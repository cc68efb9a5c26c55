"""What ``penstock`` can do, and what may stand on its command line."""
