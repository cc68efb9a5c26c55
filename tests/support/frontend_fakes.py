"""A frontend and a board that stand in for the pipeline, for the tests of the edges."""

import threading
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import numpy as np
from attrs import define, evolve, field

from pipeline.interface.status import LoadSnapshot, ModelInfo, Phase, RequestLimits
from stages.data.ragged_rows import SPARSE_ENTRY, RaggedRows
from stages.data.token_list import TokenList
from stages.requests.answer import Answer, Outcome, Timings
from stages.requests.output import Output
from stages.requests.request import EmbedRequest
from stages.requests.ticket import Reply, Ticket

DIMENSION = 8

MODEL = ModelInfo(
    model_id="fake",
    fingerprint="0123456789abcdef",
    dimension=DIMENSION,
    max_tokens=512,
    vocabulary=1000,
    pooling="mean",
    normalize=True,
    dtype="float32",
    device="cpu",
    batching="packed",
    batching_reason="",
    prompts={"query": "query: ", "passage": "passage: "},
)
LIMITS = RequestLimits(
    max_items=64, max_request_bytes=1 << 20, max_item_bytes=4096, max_wait_s=30.0
)
SNAPSHOT = LoadSnapshot(
    phase=Phase.SERVING,
    status="healthy",
    accepting_requests=True,
    queued_tokens=0,
    service_rate_tokens_per_s=1000.0,
    estimated_drain_s=0.0,
    p95_latency_s=None,
    gpu_queue_depth=0,
    embedding_dimension=DIMENSION,
    uptime_s=12.5,
    retry_after_s=0.0,
    open_requests=0,
)


def vectors_of(request: EmbedRequest) -> np.ndarray:
    """Vectors that tell items apart: float32 [items, DIMENSION], first value is the item's size."""
    if request.ids is not None:
        sizes = [int(request.ids.item(i).sum()) + 1 for i in range(len(request.ids))]
    else:
        sizes = [len(text) + 1 for text in request.texts or ()]
    base = np.arange(DIMENSION, dtype=np.float32)
    return np.stack([base + np.float32(size) for size in sizes])


def answer_to(request: EmbedRequest, **changes: Any) -> Answer:
    answer = Answer(
        vectors=vectors_of(request),
        token_counts=np.full(request.items, 3, np.int32),
        truncated=(),
        errors=(),
        timings=Timings(0.001, 0.002, 0.003, 0.004, 0.010),
    )
    return evolve(answer, **changes)


def answer_by_output(request: EmbedRequest) -> Answer:
    """What a model that offers everything would answer, with one label."""
    match request.output:
        case Output.TOKENS:
            items = [np.repeat(row[np.newaxis], 3, axis=0) for row in vectors_of(request)]
            return answer_to(request, ragged=RaggedRows.of(items, items[0]))
        case Output.SPARSE:
            entry = np.array([(3, 0.1), (7, 1.5)], SPARSE_ENTRY)
            return answer_to(request, ragged=RaggedRows.of([entry] * request.items, entry))
        case Output.SCORES:
            return answer_to(request, vectors=vectors_of(request)[:, :1])
        case Output.PIECES:
            return answer_to(request, pieces=[spelled(text) for text in request.texts])
        case Output.TEXT:
            ids = [request.ids.item(index).tolist() for index in range(request.items)]
            return answer_to(request, texts=[" ".join(map(str, item)) for item in ids])
        case _:
            return answer_to(request)


def spelled(text: str) -> TokenList:
    """A token before all, then one a character."""
    ids = range(len(text) + 1)
    special = [index == 0 for index in ids]
    starts = [len(text[:place].encode()) for place in range(len(text))]
    stops = [len(text[: place + 1].encode()) for place in range(len(text))]
    return TokenList(text.encode(), ids, ["[CLS]", *text], special, [0, *starts], [0, *stops])


@define(eq=False)
class FakeFrontend:
    """Answers at once with ``answer``, or keeps requests until :meth:`let_go`."""

    answer: Callable[[EmbedRequest], Outcome] = answer_to
    hold: bool = False
    held: list[tuple[EmbedRequest, Reply]] = field(factory=list)
    submitted: list[tuple[EmbedRequest, float]] = field(factory=list)
    abandoned: list[Ticket] = field(factory=list)
    changed: threading.Condition = field(factory=threading.Condition)
    _numbers: Iterator[int] = field(factory=lambda: count(1))

    def submit(self, request: EmbedRequest, *, timeout_s: float, reply: Reply) -> Ticket | None:
        ticket = Ticket(
            next(self._numbers), request.request_id, request.items, timeout_s, 0.0, reply
        )
        with self.changed:
            self.submitted.append((request, timeout_s))
            if self.hold:
                self.held.append((request, reply))
            self.changed.notify_all()
        if not self.hold:
            reply(self.answer(request))
        return ticket

    def abandon(self, ticket: Ticket) -> None:
        with self.changed:
            self.abandoned.append(ticket)
            self.changed.notify_all()

    @property
    def held_calls(self) -> int:
        """The calls that are held: several may travel as one request."""
        return sum(request.requests for request, _ in self.held)

    def let_go(self) -> None:
        """Answer all that is held (Trio's thread)."""
        held, self.held = self.held, []
        for request, reply in held:
            reply(self.answer(request))

    def wait_for(self, condition: Callable[["FakeFrontend"], bool]) -> None:
        """Block (any other thread) until ``condition`` holds."""
        with self.changed:
            assert self.changed.wait_for(lambda: condition(self), timeout=20)


@define(eq=False)
class FakeBoard:
    snapshot: LoadSnapshot = SNAPSHOT
    model: ModelInfo | None = MODEL
    limits: RequestLimits = LIMITS


def items(kept: list[tuple[EmbedRequest, Any]]) -> int:
    """How many items a frontend has held or seen: small requests of a stream come together."""
    return sum(request.items for request, _ in kept)
