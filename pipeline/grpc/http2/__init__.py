"""HTTP/2 as a server needs it: h2 and grpclib, mended; nothing of calls."""
