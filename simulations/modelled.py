"""Models of what is slow or random in the real server: the device and the tokenizer.

Both are :class:`stages.runner.Runner`: they take the time that the real thing
would take, on the virtual clock, and give answers that can be checked.
"""

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Generic, TypeVar

import numpy as np
import trio
from attrs import define, field, frozen

from pipeline.calibrate import read_cost
from stages.batch_result import DeviceOutput
from stages.cost_model import CostModel
from stages.messages import Batch, Int32
from stages.runner import Timed

In = TypeVar("In")
Out = TypeVar("Out")
DIMENSION: Final = 4
CPU: Final = CostModel(0.002, 1 / 6000, 0.0)  # MiniLM on two cores, about


@frozen
class DeviceCost:
    """Seconds for a batch by a cost model, padding included.

    ``jitter`` is the spread of the whole, as a share.
    """

    model: CostModel = CPU
    jitter: float = 0.05

    @classmethod
    def read(cls, path: Path, jitter: float = 0.05) -> "DeviceCost":
        """The cost of a device that ``penstock calibrate --output`` has measured.

        Raises what :func:`pipeline.calibrate.read_cost` raises.
        """
        return cls(read_cost(path), jitter)

    def seconds(self, batch: Batch, rng: random.Random) -> float:
        """How long ``batch`` takes this time."""
        spread = 1.0 + self.jitter * (2.0 * rng.random() - 1.0)
        return self.model.seconds(batch.computed) * spread


@define(eq=False)
class ModelledJob(Generic[Out]):
    """Work in a modelled runner."""

    _done: trio.Event = field(factory=trio.Event)
    _result: Timed[Out] | None = None
    _error: Exception | None = None

    async def wait(self) -> Timed[Out]:
        """See :class:`stages.runner.Job`."""
        await self._done.wait()
        if self._error is not None:
            raise self._error
        if self._result is None:
            raise RuntimeError("a job is done without a result")
        return self._result

    def finish(self, result: Timed[Out] | None, error: Exception | None) -> None:
        """Wake the waiter."""
        self._result, self._error = result, error
        self._done.set()


class ModelledRunner(Generic[In, Out]):
    """Runs jobs one after another: ``work`` gives the result, ``seconds`` the time."""

    def __init__(self, work: Callable[[In], Out], seconds: Callable[[In], float]) -> None:
        self._work = work
        self._seconds = seconds
        self._send, self._receive = trio.open_memory_channel[tuple[In, ModelledJob[Out]]](10_000)

    def submit(self, work: In) -> ModelledJob[Out]:
        """See :class:`stages.runner.Runner`."""
        job: ModelledJob[Out] = ModelledJob()
        self._send.send_nowait((work, job))
        return job

    async def run(self) -> None:
        """Serve for ever."""
        async for work, job in self._receive:
            started_at = trio.current_time()
            await trio.sleep(self._seconds(work))
            try:
                value = self._work(work)
            except Exception as error:
                job.finish(None, error)
            else:
                job.finish(Timed(value, started_at, trio.current_time()), None)


def modelled_device(cost: DeviceCost, rng: random.Random) -> ModelledRunner[Batch, DeviceOutput]:
    """A device whose vectors are :func:`fingerprint_of` each item's ids."""
    return ModelledRunner(_embed, lambda batch: cost.seconds(batch, rng))


def modelled_tokenizer(byte_s: float) -> ModelledRunner[Sequence[str], Sequence[Int32]]:
    """A tokenizer with one token for each word (and no special tokens)."""
    return ModelledRunner(
        lambda texts: [tokens_of(text) for text in texts],
        lambda texts: byte_s * sum(map(len, texts)),
    )


def tokens_of(text: str) -> Int32:
    """The modelled tokenizer's ids of ``text``, int32 [words]."""
    return np.array([sum(word.encode()) % 30_000 for word in text.split()], np.int32)


def fingerprint_of(ids: Int32) -> list[float]:
    """The vector that belongs to an item: tells it from any other one's."""
    weights = np.arange(1, len(ids) + 1)
    return [float(len(ids)), float(ids.sum()), float((ids * weights).sum() % 65_521), float(ids[0])]


def _embed(batch: Batch) -> DeviceOutput:
    rows = [
        fingerprint_of(chunk.ids.item(index))
        for chunk in batch.chunks
        for index in range(len(chunk))
    ]
    return DeviceOutput(np.array(rows, np.float32).reshape(-1, DIMENSION))
