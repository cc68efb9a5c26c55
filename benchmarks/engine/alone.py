"""The engine alone: this project's device fed by this project's planner, and no server.

The planner is kept as full as ``QUEUED_TEXTS`` texts in requests of
``REQUEST_TEXTS`` make it, so batches look as they do under load. What the stages
around the device offer is met here only.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from stages.bucketing import buckets_for, sort_into_buckets
from stages.data.arrays import Float32, Int32
from stages.device.checkpoint.recipe import Recipe
from stages.device.factory import make_device
from stages.device.layouts.packing import Sample
from stages.device.spec import Device, EngineSpec
from stages.messages.batch import Batch, Layout
from stages.messages.batch_result import DeviceOutput
from stages.messages.tokenized_items import TokenizedItems
from stages.planner.batch_limits import BatchLimits
from stages.planner.batch_planner import BatchPlanner
from stages.requests.open_tickets import OpenTickets
from stages.threads.cores import available_cores
from stages.threads.pending_work import Pending

QUEUED_TEXTS: Final = 512  # 16 clients with 32 texts a call
REQUEST_TEXTS: Final = 32
BATCH_SIZES: Final = (8, 16, 32, 64, 128, 256, 512)
IN_FLIGHT: Final = 2  # as many as a server has room credits for a device
CORES: Final = available_cores()  # before a device binds the thread that makes it
MAX_BATCH_S: Final = {"cpu": 0.25, "cuda": 0.05}  # MAX_BATCH_MS as it is unless set


@frozen(eq=False)
class EngineAlone:
    """A warm device, and what bounds the batches that it is given."""

    device: Device
    limits: BatchLimits

    @classmethod
    def load(
        cls,
        folder: Path,
        layout: Layout,
        *,
        device: str = "cpu",
        dtype: str = "auto",
        threads: int = 0,
        compiled: bool = True,
        buckets: tuple[int, ...] = (),
        batch_sizes: tuple[int, ...] = BATCH_SIZES,
    ) -> "EngineAlone":
        """Load, check and warm up the model in ``folder``, by default as a server does.

        Raises:
            stages.device.errors.ModelError: it cannot be used.
            ValueError: it cannot be packed, though that was asked for.
        """
        recipe = Recipe.read(folder)
        spec = EngineSpec(
            folder=folder,
            recipe=recipe,
            device=device,
            dtype=dtype,
            layout=layout,
            threads=threads,
            cores=CORES,
            compiled=compiled,
            buckets=buckets or buckets_for(recipe.max_tokens),
            batch_sizes=batch_sizes,
        )
        made = make_device(spec)
        if made.layout is not layout:
            raise ValueError(f"{layout.value}: {made.layout_reason}")
        kind = "cuda" if made.device.startswith("cuda") else "cpu"
        limits = BatchLimits(
            layout=layout,
            buckets=spec.buckets,
            max_items=spec.max_batch_size,
            max_tokens=spec.max_tokens_per_batch,
            max_batch_s=MAX_BATCH_S[kind],
            stale_after_s=0.05,
            min_delay_s=0.005,
            max_held_tokens=131_072,
            batch_sizes=spec.batch_sizes if kind == "cuda" and layout is Layout.PADDED else (),
        )
        return cls(made, limits)

    def batches(self, texts: Sequence[Int32]) -> Iterator[Batch]:
        """The batches in which the planner runs ``texts``, as fast as they are taken."""
        tickets = OpenTickets()
        planner = BatchPlanner(self.limits, lambda _ticket, _now, _needs_s: True)
        edges = np.array(self.limits.buckets, np.int32)
        for first in range(0, len(texts), REQUEST_TEXTS):
            while planner.held_items >= QUEUED_TEXTS and (batch := self._next(planner)):
                yield batch
            items = texts[first : first + REQUEST_TEXTS]
            ids = Sample.of(items).ids
            ticket = tickets.open("", len(items), deadline=np.inf, reply=lambda _: None, now=0.0)
            positions = np.arange(first, first + len(items), dtype=np.int32)
            for chunk in sort_into_buckets(TokenizedItems(ticket, ids, positions), edges):
                rest = planner.add(chunk, 0.0)
                while rest is not None and (batch := self._next(planner)):
                    yield batch
                    rest = planner.add(rest, 0.0)
        while batch := self._next(planner):
            yield batch

    def _next(self, planner: BatchPlanner) -> Batch | None:
        return planner.next_batch(0.0, device_idle=True, cost=self.device.cost)

    def embed(self, texts: Sequence[Int32]) -> Float32:
        """Pooled vectors, float32 [texts, dimension], in the order of ``texts``."""
        vectors: Float32 = np.empty((len(texts), self.device.dimension), np.float32)
        batches = list(self.batches(texts))
        for batch, output in zip(batches, self.run(batches), strict=True):
            vectors[_positions(batch)] = output.vectors  # type: ignore[assignment]  # pooled
        return vectors

    def run(self, batches: Iterable[Batch]) -> Iterator[DeviceOutput]:
        """What the device makes of ``batches``, the next one started before one is finished.

        Left early, what is in flight is finished: else its buffers would be missing.
        """
        started: deque[Pending[DeviceOutput]] = deque()
        try:
            for batch in batches:
                started.append(self.device.start(batch))
                if len(started) == IN_FLIGHT:
                    yield started.popleft().finish()
            while started:
                yield started.popleft().finish()
        finally:
            for pending in started:
                with suppress(Exception):
                    pending.finish()

    def prepare(self) -> None:
        """Let the device do all that it puts off until it is idle."""
        while self.device.idle():
            pass


def _positions(batch: Batch) -> NDArray[np.int32]:
    return np.concatenate([chunk.positions for chunk in batch.chunks])
