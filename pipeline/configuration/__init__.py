"""From settings and a loaded model to what the server is made of: plain functions."""
