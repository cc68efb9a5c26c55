"""Streams of requests: many in flight on one call, small ones coalesced."""
