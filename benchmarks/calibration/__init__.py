"""The simulator beside the real server, call by call."""
