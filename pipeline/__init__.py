"""Wires the stages together and serves them over gRPC and HTTP."""
