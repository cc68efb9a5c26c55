"""The engine beside plain transformers and the machine's own limit."""
