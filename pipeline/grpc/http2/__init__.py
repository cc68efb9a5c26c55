"""HTTP/2 as a server needs it: h2 and grpclib, mended. Knows nothing of calls."""
