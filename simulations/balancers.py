"""Which server a call goes to: what a balancer in front of several would choose."""

from collections.abc import Callable, Mapping, Sequence
from itertools import cycle
from types import MappingProxyType
from typing import Final, Protocol

from simulations.agenda import Agenda
from simulations.replica import Replica

UPDATE_S: Final = 1.0  # between two looks at the servers' reports


class Balancer(Protocol):
    """A policy."""

    def pick(self) -> Replica:
        """Where the next call goes."""
        ...


class RoundRobin:
    """Each server in turn."""

    def __init__(self, replicas: Sequence[Replica], agenda: Agenda) -> None:
        del agenda
        self._turns = cycle(replicas)

    def pick(self) -> Replica:
        """See :class:`Balancer`."""
        return next(self._turns)


class LeastLoaded:
    """The server with the fewest calls under way; in turn among equals."""

    def __init__(self, replicas: Sequence[Replica], agenda: Agenda) -> None:
        del agenda
        self._replicas = list(replicas)

    def pick(self) -> Replica:
        """See :class:`Balancer`."""
        chosen = min(self._replicas, key=lambda replica: replica.outstanding)
        self._replicas.remove(chosen)
        self._replicas.append(chosen)
        return chosen


BALANCERS: Final[Mapping[str, Callable[[Sequence[Replica], Agenda], Balancer]]] = MappingProxyType(
    {"round_robin": RoundRobin, "least_loaded": LeastLoaded}
)
