"""Which server a call goes to: what a balancer in front of several would choose."""

from collections.abc import Callable, Mapping, Sequence
from itertools import cycle
from types import MappingProxyType
from typing import Final, Protocol

import trio
from attrs import define, field

from simulations.clock.event_queue import EventQueue
from simulations.server.replica import Replica

UPDATE_S: Final = 1.0  # between two looks at what servers report
MIN_USE: Final = 0.01  # the report of a server that did next to nothing means nothing


class Balancer(Protocol):
    """A policy."""

    def pick(self) -> Replica:
        """Where the next call goes."""
        ...


class RoundRobin:
    """Each server in turn."""

    def __init__(self, replicas: Sequence[Replica], event_queue: EventQueue) -> None:
        del event_queue
        self._turns = cycle(replicas)

    def pick(self) -> Replica:
        """See :class:`Balancer`."""
        return next(self._turns)


class LeastLoaded:
    """The server with the fewest calls under way; in turn among equals."""

    def __init__(self, replicas: Sequence[Replica], event_queue: EventQueue) -> None:
        del event_queue
        self._replicas = list(replicas)

    def pick(self) -> Replica:
        """See :class:`Balancer`."""
        chosen = min(self._replicas, key=lambda replica: replica.outstanding)
        self._replicas.remove(chosen)
        self._replicas.append(chosen)
        return chosen


@define(eq=False)
class _Weighted:
    """One server of a weighted round; what it had done at the last look."""

    replica: Replica
    weight: float = 1.0
    credit: float = 0.0
    answers: int = 0
    busy_s: float = 0.0


@define(eq=False)
class OrcaWeighted:
    """Servers in turn by weight: answers per second over the use of the device (gRFC A58).

    This leads to the same use of every device, however fast it is. Until a server has
    reported it weighs as much as the average. Turns are smooth: a server of weight 2 does
    not get two calls one after the other.
    """

    replicas: Sequence[Replica]
    event_queue: EventQueue
    _servers: list[_Weighted] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._servers = [_Weighted(replica) for replica in self.replicas]
        self.event_queue.at(UPDATE_S, self._look)

    def pick(self) -> Replica:
        """See :class:`Balancer`."""
        for server in self._servers:
            server.credit += server.weight
        chosen = max(self._servers, key=lambda server: server.credit)
        chosen.credit -= sum(server.weight for server in self._servers)
        return chosen.replica

    def _look(self) -> None:
        """Take what servers report as their weights."""
        known = []
        for server in self._servers:
            answers, busy_s = server.replica.edge.answers, server.replica.busy_s
            rate = (answers - server.answers) / UPDATE_S
            use = (busy_s - server.busy_s) / (UPDATE_S * len(server.replica.devices))
            server.answers, server.busy_s = answers, busy_s
            server.weight = rate / use if use >= MIN_USE else 0.0
            if server.weight:
                known.append(server.weight)
        average = sum(known) / len(known) if known else 1.0
        for server in self._servers:
            server.weight = server.weight or average
        self.event_queue.at(trio.current_time() + UPDATE_S, self._look)


BALANCERS: Final[Mapping[str, Callable[[Sequence[Replica], EventQueue], Balancer]]] = (
    MappingProxyType(
        {"round_robin": RoundRobin, "least_loaded": LeastLoaded, "orca_weighted": OrcaWeighted}
    )
)
