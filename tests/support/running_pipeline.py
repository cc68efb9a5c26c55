"""A whole pipeline in small, with callers; the device and the tokenizer are the test's."""

from itertools import count

import trio
from attrs import define, field
from core_builders import ids_request, plan_of
from trio.testing import wait_all_tasks_blocked

from pipeline.topology import Pipeline
from stages.requests.open_tickets import OpenTickets


@define(eq=False)
class Caller:
    """Sends requests into a pipeline and keeps what comes back, by request id."""

    pipeline: Pipeline
    outcomes: dict[str, list[object]] = field(factory=dict)
    _numbers: count = field(factory=count)

    def submit(self, request, timeout_s=1e6):
        """Hand in a request; its ticket, or None."""
        heard = self.outcomes.setdefault(request.request_id, [])
        return self.pipeline.submit(request, timeout_s=timeout_s, reply=heard.append)

    def ids(self, *lengths, **options):
        """Hand in a request with ids of these lengths; its request id."""
        name = f"r{next(self._numbers)}"
        items = [[index + 1] * length for index, length in enumerate(lengths)]
        self.submit(ids_request(*items, request_id=name, **options))
        return name

    async def answer(self, name):
        """The one outcome of a request, once all is quiet."""
        await trio.testing.wait_all_tasks_blocked()
        (outcome,) = self.outcomes[name]
        return outcome


class Running:
    """A running pipeline with callers."""

    def __init__(self, nursery, *observers, **plan):
        self.tickets = OpenTickets()
        self.restarts = []
        self.pipeline = Pipeline(
            plan_of(**plan),
            self.tickets,
            observers=observers,
            on_restart=self.restarts.append,
        )
        self.calls = Caller(self.pipeline)
        self.returned = trio.Event()
        nursery.start_soon(self._run)

    async def _run(self):
        await self.pipeline.run()
        self.returned.set()

    async def kinds(self, *names):
        """The type of each outcome so far, None where there is none."""
        await wait_all_tasks_blocked()
        outcomes = [self.calls.outcomes[name] for name in names]
        assert all(len(heard) <= 1 for heard in outcomes)
        return [type(heard[0]) if heard else None for heard in outcomes]


def assert_nothing_is_left(running):
    tickets, load = running.tickets, running.pipeline.load
    assert len(tickets) == tickets.reserved_tokens == tickets.items_on_their_way == 0
    assert load.batches_on_device == load.tokens_on_device == 0
