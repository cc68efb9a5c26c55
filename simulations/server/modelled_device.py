"""Models of what is slow or random in the real server: the device and the tokenizer.

They take the time that the real ones would take and give answers that can be checked.
"""

import random
from collections.abc import Callable, Sequence

import numpy as np
import trio
from attrs import define, field, frozen

from simulations.clock.event_queue import EventQueue
from simulations.server.runner import ModelledRunner
from simulations.world.drift import STEADY, Pace
from simulations.world.faults import (
    DeviceCrash,
    DeviceFaults,
    Hang,
    InjectedCrash,
    OutOfMemory,
    SlowDevice,
)
from simulations.world.scenario import CPU, Host
from simulations.world.token_corpus import DIMENSION, MAX_IDS, Corpus, vector_of
from stages.data.arrays import Int32
from stages.device.spec import DeviceFigures
from stages.load.cost_model import CostModel
from stages.messages.batch import Batch, Layout
from stages.messages.batch_result import DeviceOutput
from stages.requests.output import Output
from stages.text.tokenizer_work import TokenizerWork
from stages.threads.pending_work import Completed


@frozen
class DeviceCost:
    """Seconds for a batch by a cost model, padding included, at the pace of the moment.

    ``jitter`` is the spread of the whole, as a share.
    """

    model: CostModel = CPU
    jitter: float = 0.05
    pace: Pace = STEADY

    def seconds(self, batch: Batch, rng: random.Random, now: float) -> float:
        """How long ``batch`` takes this time."""
        spread = 1.0 + self.jitter * (2.0 * rng.random() - 1.0)
        return self.pace.seconds(self.model.seconds(batch.computed) * spread, now)


@define(eq=False)
class ModelledDevice:
    """A :class:`stages.device.spec.Device` without a model, but with faults."""

    device: str
    layout: Layout
    seconds_of: DeviceCost
    rng: random.Random
    faults: DeviceFaults
    max_tokens: int  # lowered where memory did not suffice
    out_of_memory: int = 0
    busy_s: float = 0.0  # with batches that it has begun
    layout_reason: str = ""
    dimension: int = DIMENSION
    dtype: str = "float32"
    vocabulary: int = MAX_IDS
    outputs: tuple[Output, ...] = (Output.POOLED,)
    excluded_ids: Int32 = field(factory=lambda: np.zeros(0, np.int32))
    cost: CostModel = field(init=False)  # as it was measured

    @cost.default
    def _measured(self) -> CostModel:
        return self.seconds_of.model

    def figures(self) -> DeviceFigures:
        """See :class:`stages.device.spec.Device`."""
        return DeviceFigures(self.max_tokens, self.out_of_memory)

    def idle(self) -> bool:
        """See :class:`stages.device.spec.Device`."""
        return False

    def seconds(self, batch: Batch) -> float:
        """How long it is busy with ``batch``, which begins now."""
        now = trio.current_time()
        seconds = self.seconds_of.seconds(batch, self.rng, now)
        for slow in self.faults.strike(SlowDevice, now):
            seconds *= slow.factor
        for hang in self.faults.strike(Hang, now):
            seconds += hang.seconds
        self.busy_s += seconds
        return seconds

    def start(self, batch: Batch) -> Completed[DeviceOutput]:
        """See :class:`stages.device.spec.Device`.

        Too little memory lowers what later batches may have, as on a real device, and
        fails only a batch whose halves do not fit either.
        """
        now = trio.current_time()
        if self.faults.strike(DeviceCrash, now):
            raise InjectedCrash("device")
        computed = batch.rows * batch.width
        for memory in self.faults.strike(OutOfMemory, now):
            if computed > memory.max_tokens:
                self.out_of_memory += 1
                self.max_tokens = min(self.max_tokens, max(1, computed // 2))
                if computed > 2 * memory.max_tokens:
                    raise InjectedCrash("out of memory")
        return Completed(self._embed(batch, self.faults.broken_rows(batch, now)))

    def _embed(self, batch: Batch, broken: tuple[int, ...]) -> DeviceOutput:
        rows = [
            vector_of(chunk.ids.item(index))
            for chunk in batch.chunks
            for index in range(len(chunk))
        ]
        vectors = np.array(rows, np.float32)
        vectors[list(broken)] = np.nan
        return DeviceOutput(vectors, broken)


def device_runner(
    event_queue: EventQueue, device: ModelledDevice, hindered_s: Callable[[], float] = lambda: 0.0
) -> ModelledRunner[Batch, DeviceOutput]:
    """The runner of ``device``; for ``hindered_s`` see :class:`ModelledRunner`."""
    return ModelledRunner(
        event_queue, lambda batch: device.start(batch).finish(), device.seconds, hindered_s
    )


def modelled_tokenizer(
    event_queue: EventQueue, corpus: Corpus, host: Host
) -> ModelledRunner[TokenizerWork, Sequence[Int32]]:
    """A tokenizer with one token for each word (and no special tokens)."""
    return ModelledRunner(
        event_queue,
        lambda work: [corpus.tokens_of(text) for text in _texts_of(work)],
        lambda work: host.trip_s + host.byte_s * sum(map(len, _texts_of(work))),
    )


def _texts_of(work: TokenizerWork) -> Sequence[str]:
    if not isinstance(work, Sequence):
        raise TypeError(f"a modelled tokenizer cannot do {type(work).__name__}")
    return work
