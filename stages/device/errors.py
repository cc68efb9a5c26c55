"""The error that says a model cannot be served as asked."""


class ModelError(ValueError):
    """A checkpoint or a device that cannot be used; raised while loading only.

    The message says what is wrong, in which file, and what is allowed.
    """
