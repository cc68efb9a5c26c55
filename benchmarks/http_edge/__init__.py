"""What the HTTP edge costs, and how it stands bad input and a full server."""
