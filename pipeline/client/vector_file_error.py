"""Why a file of vectors cannot be written."""


class VectorFileError(Exception):
    """The file cannot be written or continued; the message says why."""
