"""Requests that walk through the stages by hand, before the eyes of any watcher."""

import numpy as np
from attrs import define, field

from pipeline.topology import STAGES
from pipeline.wiring.stage_occupancy import StageOccupancy
from stages.data.ragged_ids import RaggedIds
from stages.load.cost_model import Work
from stages.messages.batch import Batch, Layout
from stages.messages.batch_result import BatchResult
from stages.messages.chunk import Chunk
from stages.messages.submission import Submission
from stages.messages.tokenized_items import TokenizedItems
from stages.requests.answer import Answer
from stages.requests.open_tickets import OpenTickets
from stages.requests.request import EmbedRequest


def ragged(items, tokens_each):
    lengths = np.full(items, tokens_each, np.int32)
    starts = np.arange(items, dtype=np.int32) * tokens_each
    return RaggedIds(np.zeros(items * tokens_each, np.int32), starts, lengths)


@define
class Journey:
    """One watcher, a registry of tickets, and the steps of the way."""

    watcher: object
    tickets: OpenTickets = field(factory=OpenTickets)
    replies: list = field(factory=list)
    batches: int = 0
    occupancy: StageOccupancy = field(init=False)

    def __attrs_post_init__(self):
        self.occupancy = StageOccupancy({stage: stage for stage in STAGES}, [self.watcher])
        self.tickets.on_end(self.occupancy.ended)

    def open(self, items=1, *, now=0.0, request_id="r", tokens_each=10):
        ticket = self.tickets.open(
            request_id, items, deadline=now + 100, reply=self.replies.append, now=now
        )
        self.tickets.reserve(ticket, Work.of([tokens_each] * items))
        return ticket

    def to_planner(self, ticket, *, begin, step, bucket=16, tokens_each=10):
        """Admission, tokenizing and bucketing take ``step`` seconds each."""
        ids = ragged(ticket.items, tokens_each)
        positions = np.arange(ticket.items, dtype=np.int32)
        request = Submission(ticket, EmbedRequest(ticket.request_id, ids=ids))
        tokenized = TokenizedItems(ticket, ids, positions)
        chunk = Chunk(ticket, bucket, ids, positions)
        now = begin
        for stage, taken, passed in (
            ("admission", request, request),
            ("tokenizing", request, tokenized),
            ("bucketing", tokenized, chunk),
        ):
            self.occupancy.received(stage, taken, now)
            now += step
            self.occupancy.sent(stage, passed, now)
        self.occupancy.received("batching", chunk, now)
        return chunk

    def run(self, chunks, *, begin, step, layout=Layout.PACKED, rows=1, width=None, error=None):
        """Batching sends at ``begin``; execution takes ``step`` seconds, all on the device."""
        self.batches += 1
        tokens = sum(chunk.tokens for chunk in chunks)
        batch = Batch(self.batches, tuple(chunks), layout, rows, width or tokens)
        vectors = None if error else np.zeros((batch.items, 4), np.float32)
        result = BatchResult(batch, vectors, (), begin, begin + step, error)
        self.occupancy.sent("batching", batch, begin)
        self.occupancy.received("execution", batch, begin)
        self.occupancy.sent("execution", result, begin + step)
        self.occupancy.received("notification", result, begin + step)
        return result

    def deliver(self, result, *, now):
        first = 0
        for chunk in result.batch.chunks:
            vectors = result.vectors[first : first + len(chunk)]
            first += len(chunk)
            self.tickets.deliver(
                chunk.ticket, chunk.positions, vectors, (),
                work=chunk.work, queue_s=0.0, device_s=0.0, now=now,
            )  # fmt: skip

    def whole(self, items=1, *, begin=0.0, step=1.0, request_id="r"):
        """A request all the way, ``step`` seconds in each of the six stages."""
        ticket = self.open(items, now=begin, request_id=request_id)
        chunk = self.to_planner(ticket, begin=begin, step=step)
        result = self.run([chunk], begin=begin + 4 * step, step=step)
        self.deliver(result, now=begin + 6 * step)
        assert isinstance(self.replies[-1], Answer)
        return ticket
