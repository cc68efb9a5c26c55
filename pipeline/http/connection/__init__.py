"""Connections of the HTTP edge: what is read and written, and within which bounds."""
