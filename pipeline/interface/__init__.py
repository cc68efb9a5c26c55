"""What the edges have in common: where requests are handed in, what is known of the server."""
