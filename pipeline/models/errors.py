"""What can go wrong on the way to a model."""


class NoModel(Exception):
    """There is no model to serve; the message says what was looked for, where, and what to do."""


class Unreachable(NoModel):
    """The place that the model comes from does not answer; a cached copy may serve instead."""
