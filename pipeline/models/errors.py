"""What can go wrong on the way to a model."""


class NoModel(Exception):
    """There is no model to serve; the message says what was looked for, where, and what to do."""


class Unreachable(NoModel):
    """The place that the model comes from does not answer; a cached copy may serve instead."""


class NoPlace(NoModel):
    """A setting names a place where no model can be: ``setting=value`` and the ``reason``."""

    def __init__(self, setting: str, value: str, reason: str) -> None:
        super().__init__(f"{setting}={value} {reason}")
        self.setting, self.value, self.reason = setting, value, reason
