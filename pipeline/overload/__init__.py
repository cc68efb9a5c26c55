"""What the server knows of its own overload: reports, refusals, and memory held."""
