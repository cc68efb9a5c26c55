"""The commands that ask a running server, and the files that they read and write."""
