"""The gRPC edge: grpclib on one asyncio loop in one thread. Only here is asyncio imported."""
