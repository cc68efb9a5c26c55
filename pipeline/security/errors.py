"""The error that says a file of keys or certificates cannot be used."""


class SecurityFileError(ValueError):
    """The file cannot be used; the message says which and why, and quotes nothing of it."""
