"""Small calls of the gRPC edge, beside servers that do less."""
