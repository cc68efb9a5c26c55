"""Measurements that anyone can run again; each prints what it measured and how.

Nothing here is part of the server. A benchmark starts servers of its own on free
loopback ports, is bounded in calls and time, and stops what it started.
"""
