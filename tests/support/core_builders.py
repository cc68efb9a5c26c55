"""Small pieces of the core that several tests build with."""

import numpy as np
import trio
from attrs import define, field

from pipeline.wiring.pipeline_plan import PipelinePlan
from stages.data.ragged_ids import RaggedIds
from stages.load.latency_window import LatencyWindow
from stages.load.load_meter import LoadMeter
from stages.messages.batch import Batch, Layout
from stages.messages.batch_credit import BatchCredit
from stages.messages.batch_result import BatchResult, DeviceOutput
from stages.messages.chunk import Chunk
from stages.messages.submission import Submission
from stages.planner.batch_limits import BatchLimits
from stages.requests.request import EmbedRequest
from stages.text.token_rules import TokenRules
from stages.threads.runner import Timed

BUCKETS = (4, 8, 16)


def ragged(items):
    """Items as lists of ids, one after another."""
    lengths = np.array([len(item) for item in items], np.int32)
    starts = np.concatenate([[0], lengths.cumsum()[:-1]]).astype(np.int32)
    flat = np.concatenate([np.array(item, np.int32) for item in items])
    return RaggedIds(flat, starts, lengths)


def bucket_of(length, buckets=BUCKETS):
    return min(bucket for bucket in buckets if bucket >= length)


def chunk_of(ticket, lengths, *, bucket=None, first=0, label=1):
    """A chunk of items with these lengths, all ids of an item being ``label``, ``label`` + 1 ..."""
    items = [[label + index] * length for index, length in enumerate(lengths)]
    positions = np.arange(first, first + len(lengths), dtype=np.int32)
    return Chunk(ticket, bucket or bucket_of(max(lengths)), ragged(items), positions)


def batch_of(*chunks, number=1):
    width = sum(chunk.tokens for chunk in chunks)
    return Batch(number, tuple(chunks), Layout.PACKED, 1, width)


def open_ticket(tickets, items, *, timeout_s=1e9, now=0.0, reply=lambda _: None, **options):
    return tickets.open("r", items, deadline=now + timeout_s, reply=reply, now=now, **options)


def limits_of(layout=Layout.PACKED, **changes):
    values = {
        "layout": layout,
        "buckets": BUCKETS,
        "max_items": 8,
        "max_tokens": 64,
        "max_batch_s": 1.0,
        "stale_after_s": 1.0,
        "min_delay_s": 0.1,
        "max_held_tokens": 256,
    }
    return BatchLimits(**values | changes)


def load_of(tickets):
    return LoadMeter(tickets, None, 0.3, LatencyWindow(1.0), 1, full_tokens=64, full_s=1.0)


def submission_of(tickets, request, *, now=None, timeout_s=1e9, reply=lambda _: None):
    now = trio.current_time() if now is None else now
    ticket = tickets.open(
        request.request_id, request.items, deadline=now + timeout_s, reply=reply, now=now
    )
    return Submission(ticket, request)


def rows_of(chunk):
    """The rows that :class:`HandDevice` gives: [first id, length] of each item."""
    return [[float(chunk.ids.item(i)[0]), float(chunk.ids.lengths[i])] for i in range(len(chunk))]


def vectors_of(batch):
    return np.array([row for chunk in batch.chunks for row in rows_of(chunk)], np.float32)


@define(eq=False)
class HandJob:
    """Work that is done when the test says so."""

    work: object
    _done: trio.Event = field(factory=trio.Event)
    _value: object = None
    _error: Exception | None = None
    started_at: float = field(factory=trio.current_time)

    @property
    def done(self):
        return self._done.is_set()

    async def wait(self):
        await self._done.wait()
        if self._error is not None:
            raise self._error
        return Timed(self._value, self.started_at, trio.current_time())

    def finish(self, value):
        self._value = value
        self._done.set()

    def fail(self, error):
        self._error = error
        self._done.set()


@define(eq=False)
class HandRunner:
    """A runner whose jobs the test finishes by hand."""

    jobs: list[HandJob] = field(factory=list)

    def submit(self, work):
        self.jobs.append(HandJob(work))
        return self.jobs[-1]

    def run_batch(self, index=-1):
        """Finish a batch as a device would."""
        job = self.jobs[index]
        job.finish(DeviceOutput(vectors_of(job.work)))


@define(eq=False)
class InlineRunner:
    """A runner that does the work at once, in the caller's task."""

    function: object
    calls: list[object] = field(factory=list)

    def submit(self, work):
        self.calls.append(work)
        job = HandJob(work)
        try:
            job.finish(self.function(work))
        except Exception as error:
            job.fail(error)
        return job


def words(texts):
    """A tokenizer with a token of the word's length for each word."""
    return [np.array([len(word) for word in text.split()], np.int32) for text in texts]


def inline_device():
    return InlineRunner(lambda batch: DeviceOutput(vectors_of(batch)))


def ids_request(*items, request_id="r", **options):
    return EmbedRequest(request_id, ids=ragged(items), **options)


def plan_of(**changes):
    """A small pipeline: words for tokens, an inline device."""
    if "device" in changes:
        changes["devices"] = (changes.pop("device"),)
    values = {
        "rules": TokenRules(max_tokens=BUCKETS[-1]),
        "limits": limits_of(),
        "policies": (),
        "tokenizer": InlineRunner(words),
        "devices": (inline_device(),),
        "draw": lambda: 0.5,
        "door_capacity": 16,
        "batch_capacity": 4,
        "rate_alpha": 0.3,
        "cost": None,
        "latency_window_s": 1.0,
        "latency_min_samples": 1,
        "restarts": 100,
        "restarts_window_s": 60.0,
    }
    return PipelinePlan(**values | changes)


def result_of(batch, **changes):
    values = {
        "batch": batch,
        "vectors": vectors_of(batch),
        "broken": (),
        "started_at": 0.0,
        "finished_at": 0.0,
    }
    return BatchResult(**values | changes)


def drain(receive):
    """What is in a channel now."""
    messages = []
    while True:
        try:
            messages.append(receive.receive_nowait())
        except (trio.WouldBlock, trio.EndOfChannel):
            return messages


def keep_room(send, credits_in_all):
    """Room credits at home, as a started pipeline has them."""
    for _ in range(credits_in_all):
        send.send_nowait(BatchCredit())
