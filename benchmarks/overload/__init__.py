"""Does the server hold when far more is asked of it than it can do?

Calls come at random times (Poisson) and wait for nobody; a latency counts from when a
call should have left. One client process on a core of its own asks all servers, each of
which computes with one thread on another core.
"""
