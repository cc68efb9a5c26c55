"""What the HTTP face costs, and how it stands bad input and a full server."""
