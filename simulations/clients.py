"""The callers of a simulation: they call, wait, hang up and try again."""

import random
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np
import trio
from attrs import define, field

from simulations.clock.event_queue import EventQueue
from simulations.server.edge import EdgeCall
from simulations.server.replica import Replica
from simulations.world.arrivals import Arrival
from simulations.world.calls import Call, Listener
from simulations.world.scenario import Clients
from simulations.world.token_corpus import TOKENS, Corpus
from stages.data.arrays import Int32
from stages.data.ragged_ids import RaggedIds
from stages.errors import NotServing, Overloaded
from stages.requests.answer import Outcome
from stages.requests.lane import Lane
from stages.requests.request import EmbedRequest


@define(eq=False)
class Population:
    """The clients of one kind. ``pick`` chooses the server for an attempt."""

    clients: Clients
    corpus: Corpus
    rng: random.Random
    event_queue: EventQueue
    pick: Callable[[], Replica]
    listeners: Sequence[Listener]
    numbers: Iterator[int]  # of calls, those of all populations
    in_flight: int = 0
    _begun_at_s: float = 0.0
    _arrivals: Iterator[Arrival] = field(factory=lambda: iter(()))

    def begin(self, for_s: float) -> None:
        """Call for ``for_s`` seconds from now on."""
        self._begun_at_s = trio.current_time()
        self._arrivals = self.clients.arrivals.arrivals(self.rng, for_s)
        self._await_next()

    def _await_next(self) -> None:
        arrival = next(self._arrivals, None)
        if arrival is not None:
            self.event_queue.at(self._begun_at_s + arrival.at_s, partial(self._arrive, arrival))

    def _arrive(self, arrival: Arrival) -> None:
        self.call(self._lengths(arrival))
        self._await_next()

    def _lengths(self, arrival: Arrival) -> list[int]:
        clients, rng, lengths = self.clients, self.rng, arrival.lengths
        drawn = lengths or [clients.lengths.draw(rng) for _ in range(clients.items.draw(rng))]
        return [min(length, self.corpus.longest) for length in drawn]

    def call(self, lengths: list[int]) -> None:
        """Make a call with texts of these lengths now."""
        clients, rng, now = self.clients, self.rng, trio.current_time()
        items = tuple((int(rng.random() * TOKENS), length) for length in lengths)
        number = next(self.numbers)
        as_ids = clients.ids_share > 0.0 and rng.random() < clients.ids_share
        hangs_up = clients.hang_up_share > 0.0 and rng.random() < clients.hang_up_share
        call = Call(
            number,
            clients,
            self._request(f"call-{number}", items, as_ids=as_ids),
            items,
            now,
            now + clients.hang_up_after_s if hangs_up else None,
        )
        self.in_flight += 1
        for listener in self.listeners:
            listener.arrived(call, now)
        self._send(call)

    def _request(
        self, name: str, items: tuple[tuple[int, int], ...], *, as_ids: bool
    ) -> EmbedRequest:
        lane, tenant = Lane[self.clients.lane.upper()], self.clients.tenant
        if not as_ids:
            texts = tuple(self.corpus.text(start, tokens) for start, tokens in items)
            return EmbedRequest(name, texts=texts, lane=lane, tenant=tenant)
        places: Int32 = np.array(items, np.int32)
        ids = RaggedIds(self.corpus.ids, places[:, 0], places[:, 1])
        return EmbedRequest(name, ids=ids, lane=lane, tenant=tenant)

    def _send(self, call: Call) -> None:
        if call.over:
            return
        call.attempts += 1
        call.heard = 0
        call.sent_at_s = trio.current_time()
        replica = self.pick()
        replica.outstanding += 1
        attempt = replica.edge.call(call.request, call.deadline, partial(self._hear, call, replica))
        if call.hang_up_at_s is not None and not call.over and not call.heard:
            self.event_queue.at(call.hang_up_at_s, partial(self._hang_up, call, replica, attempt))

    def _hang_up(self, call: Call, replica: Replica, attempt: EdgeCall) -> None:
        if call.over or attempt.gone:
            return
        call.over = True
        self.in_flight -= 1
        replica.outstanding -= 1
        replica.edge.hang_up(attempt)
        for listener in self.listeners:
            listener.hung_up(call, trio.current_time())

    def _hear(self, call: Call, replica: Replica, outcome: Outcome) -> None:
        now = trio.current_time()
        call.heard += 1
        replica.outstanding -= 1
        retry_at_s = self._retry_at_s(call, outcome, now)
        if retry_at_s is None:
            call.over = True
            self.in_flight -= 1
        else:
            self.event_queue.at(retry_at_s, partial(self._send, call))
        for listener in self.listeners:
            listener.heard(call, outcome, now, final=retry_at_s is None)

    def _retry_at_s(self, call: Call, outcome: Outcome, now: float) -> float | None:
        """When the client tries again; None where it does not."""
        clients = call.clients
        if not isinstance(outcome, Overloaded | NotServing) or call.attempts > clients.retries:
            return None
        spread = 0.5 + self.rng.random()
        wait_s = clients.backoff_s * 2.0 ** (call.attempts - 1) * spread
        if clients.honours_pushback:
            wait_s = max(wait_s, outcome.retry_after_s)
        at_s = now + wait_s
        return at_s if at_s < call.deadline else None
