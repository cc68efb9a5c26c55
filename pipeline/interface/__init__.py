"""What the edges have in common: where requests go in, what is known of the server."""
