"""What is known of the server's load, and what is decided by it. Pure."""
