"""What bounds a batch, and the queue before it."""

from collections.abc import Callable

from attrs import field, frozen

from stages.load.cost_model import CostModel
from stages.messages.batch import Layout
from stages.planner.batch_room import Room
from stages.planner.precedence import Precedence


@frozen
class BatchLimits:
    """The bounds, and the order in which waiting items are served.

    ``batch_sizes`` are the row counts that captured graphs exist for, ascending;
    empty where any number of rows runs as well as another. ``ceiling`` is asked for
    each batch: a device that ran out of memory takes fewer than ``max_tokens``.
    """

    layout: Layout
    buckets: tuple[int, ...]
    max_items: int
    max_tokens: int
    max_batch_s: float
    stale_after_s: float
    min_delay_s: float
    max_held_tokens: int
    batch_sizes: tuple[int, ...] = ()
    ceiling: Callable[[], int] | None = None
    precedence: Precedence = field(factory=Precedence)

    @property
    def widths(self) -> tuple[int, ...]:
        """The row widths that are queued apart; packed, all lengths wait together."""
        return self.buckets if self.layout is Layout.PADDED else self.buckets[-1:]

    def room(self, cost: CostModel | None) -> Room:
        """What fits into an empty batch on a device with this ``cost``."""
        ceiling = self.max_tokens if self.ceiling is None else self.ceiling()
        return Room.of_batch(
            max_items=self.max_items,
            max_tokens=min(self.max_tokens, ceiling),
            max_s=self.max_batch_s,
            cost=cost,
        )

    def max_rows(self, width: int, room: Room) -> int:
        """The most rows of ``width`` tokens in a batch: a fixed size, where there are any."""
        rows = room.rows(width)
        return max((size for size in self.batch_sizes if size <= rows), default=rows)

    def rows_for(self, items: int, width: int) -> int:
        """How many rows ``items`` items run in: the next fixed size, where it fits."""
        rows = min((size for size in self.batch_sizes if size >= items), default=items)
        return rows if rows * width <= self.max_tokens else items  # else run it as it is
