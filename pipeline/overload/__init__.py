"""What the server knows of its own overload: levels, reports, refusals, and memory held."""
