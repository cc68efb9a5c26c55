"""What can go wrong on the way to a model."""


class ModelError(Exception):
    """No model to serve; the message says what was looked for, where, and what helps."""


class Unreachable(ModelError):
    """The place the model comes from does not answer; a cached copy may do."""
