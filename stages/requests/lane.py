"""How urgent a request is."""

from enum import Enum


class Lane(Enum):
    """Which line a request stands in; the value is the wire's."""

    INTERACTIVE = 0
    BULK = 1
