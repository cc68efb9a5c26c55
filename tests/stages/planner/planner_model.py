"""What a batch planner holds, by a plain model: a list of the items in each bucket."""

from math import inf

from attrs import define, field
from core_builders import BUCKETS

from stages.load.cost_model import Work
from stages.messages.batch import Layout
from stages.planner.batch_limits import BatchLimits
from stages.planner.batch_planner import REAL_SHARE


@define
class Waiting:
    """One item that waits, as the model knows it."""

    label: int
    length: int
    ticket: object
    arrived_at: float


@define
class PlannerModel:
    """The items that wait, and what of them a batch may have."""

    limits: BatchLimits
    queues: dict = field(init=False)

    def __attrs_post_init__(self):
        self.queues = {width: [] for width in self.limits.widths}

    def width_of(self, chunk):
        """The queue that a chunk waits in; packed, there is one."""
        return chunk.bucket if len(self.queues) > 1 else BUCKETS[-1]

    def alive(self, bucket):
        return [item for item in self.queues[bucket] if item.ticket.waiting]

    def time(self, cost, lengths):
        """Predicted seconds of such texts, beside what every batch costs."""
        return 0.0 if cost is None else cost.seconds(Work.of(lengths), batches=0)

    def max_time(self, cost):
        """How long they may take together."""
        max_s = self.limits.max_batch_s
        return inf if cost is None else max(max_s - cost.fixed_s, max_s / 2)

    def within(self, cost, lengths):
        """Whether a batch of such texts, or rows, is within every bound (rounding apart)."""
        return (
            len(lengths) <= self.limits.max_items
            and sum(lengths) <= self.limits.max_tokens
            and self.time(cost, lengths) <= self.max_time(cost) + 1e-9
        )

    def delay_s(self, cost):
        """How long an idle device waits for what is on its way."""
        if cost is None:
            return self.limits.min_delay_s
        lengths = [item.length for queue in self.queues.values() for item in queue]
        if cost.fixed_s < REAL_SHARE * cost.seconds(Work.of(lengths)):
            return 0.0
        return min(self.limits.min_delay_s, cost.fixed_s)

    def is_full(self, bucket, cost):
        if self.limits.layout is Layout.PADDED:
            return len(self.queues[bucket]) >= self.most_rows(bucket, cost)
        lengths = [item.length for queue in self.queues.values() for item in queue]
        return (
            len(lengths) >= self.limits.max_items
            or sum(lengths) >= self.limits.max_tokens
            or self.time(cost, lengths) >= self.max_time(cost)
        )

    def most_rows(self, bucket, cost):
        counts = range(1, self.limits.max_items + 1)
        fitting = [rows for rows in counts if self.within(cost, [bucket] * rows)]
        rows = max(fitting, default=1)
        return max((size for size in self.limits.batch_sizes if size <= rows), default=rows)
