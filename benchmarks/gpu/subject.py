"""One shape on one device, and what is measured of it in this process."""

import gc
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from attrs import asdict, define, field
from structlog.testing import capture_logs

from benchmarks.engine.alone import EngineAlone
from benchmarks.engine.plain import PlainTransformers
from benchmarks.engine.roofline import ModelFlops, Peak
from benchmarks.engine.shapes import SHAPES, write_checkpoint
from benchmarks.gpu.extent import Extent
from benchmarks.gpu.kernels import kernels
from benchmarks.harness.measure import interleaved, per_second, ratio
from benchmarks.load.mixes import MIXES, Draw, fixed, lengths, token_ids
from stages.messages.batch import Layout

FIXED_MIXES: Final[Mapping[str, Draw]] = {"512": fixed(512), "50": fixed(50)}
ENGINE_MIXES: Final[Mapping[str, Draw]] = {**FIXED_MIXES, **MIXES}
SINGLE_TOKENS: Final = 32
PACKED, BUCKETED, ARRIVAL, SORTED, PEAK = "packed", "bucketed", "arrival", "sorted", "peak"
# One graph for each of the two fixed lengths, of a full batch.
BUCKETED_BUCKETS: Final = (64, 512)
BUCKETED_SIZES: Final = (64, 512)


@define(eq=False)
class Subject:
    """One shape on one device."""

    shape: str
    folder: Path
    device: torch.device
    extent: Extent
    engine: EngineAlone | None = None
    settle_s: float = 0.0  # from ready until all is captured
    packed_rates: dict[str, float] = field(factory=dict)  # tokens a second, by mix

    @property
    def vocabulary(self) -> int:
        """Token ids of the shape."""
        return int(SHAPES[self.shape][1]["vocab_size"])

    def packed(self) -> EngineAlone:
        """The packed engine, if it could be loaded."""
        if self.engine is None:
            raise RuntimeError("there is no packed engine")
        return self.engine

    def load(self, *, compiled: bool = True) -> dict[str, Any]:
        """Write the checkpoint, load the packed engine; how long until it could serve."""
        write_checkpoint(self.folder, self.shape)
        started = time.monotonic()
        with capture_logs() as logs:
            self.engine = EngineAlone.load(
                self.folder, Layout.PACKED, device=str(self.device), compiled=compiled
            )
        return {
            "dtype": self.engine.device.dtype,
            "ready_s": time.monotonic() - started,
            **self._figures(logs),
        }

    def prepare(self) -> dict[str, Any]:
        """Capture what is left; how long it took."""
        started = time.monotonic()
        with capture_logs() as logs:
            try:
                self.packed().prepare()
            finally:
                self.settle_s = time.monotonic() - started
        return {"took_s": self.settle_s, **self._figures(logs)}

    def _figures(self, logs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """What the engine says of itself, and has said."""
        figures = asdict(self.packed().device.figures())
        said = [", ".join(f"{key}={value}" for key, value in line.items()) for line in logs]
        return {"figures": figures, "memory_mib": _memory(self.device), "log": said}

    def correctness(self) -> dict[str, Any]:
        """The least cosine to transformers in float32, each text in mixed company."""
        texts = token_ids(
            lengths(MIXES["documents"], min(20_000, self.extent.tokens)), self.vocabulary
        )
        plain = PlainTransformers.load(self.folder, self.device, torch.float32)
        a, b = self.packed().embed(texts), plain.in_arrival_order(texts)
        norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
        return {"texts": len(texts), "least_cosine": float(((a * b).sum(axis=1) / norms).min())}

    def rates(self, mix: str) -> dict[str, Any]:
        """Tokens a second of the packed engine and plain transformers; its share of the peak."""
        engine, extent = self.packed(), self.extent
        dtype = getattr(torch, engine.device.dtype)
        plain = PlainTransformers.load(self.folder, self.device, dtype)
        flops = ModelFlops.of(self.folder)
        sizes = lengths(ENGINE_MIXES[mix], extent.tokens)
        fewer = lengths(ENGINE_MIXES[mix], extent.plain_tokens)
        texts = token_ids(fewer, self.vocabulary)
        total = float(fewer.sum())
        contenders: dict[str, Callable[[], float]] = {
            PACKED: self.rate(engine, mix),
            ARRIVAL: partial(per_second, total, partial(plain.in_arrival_order, texts)),
            SORTED: partial(per_second, total, partial(plain.sorted_by_length, texts)),
            PEAK: Peak(flops.shapes, self.device, dtype).measure,
        }
        rates = interleaved(contenders, extent.rounds)
        self.packed_rates[mix] = statistics.median(rates[PACKED])
        per_token = flops.of_texts(sizes) / float(sizes.sum())
        return {
            "rates": rates,
            "median_tokens_per_s": {name: statistics.median(rates[name]) for name in rates},
            "flops_per_token": per_token,
            "share_of_peak": ratio(rates[PACKED], rates[PEAK]) * per_token,
            "packed_over": {name: ratio(rates[PACKED], rates[name]) for name in (ARRIVAL, SORTED)},
        }

    def rate(self, engine: EngineAlone, mix: str) -> Callable[[], float]:
        """Tokens a second; planned before, as a server does while the device runs."""
        sizes = lengths(ENGINE_MIXES[mix], self.extent.tokens)
        batches = list(engine.batches(token_ids(sizes, self.vocabulary)))
        return lambda: per_second(float(sizes.sum()), lambda: list(engine.run(batches)))

    def single(self) -> dict[str, Any]:
        """One text alone: ms from handing it over to having its vector."""
        engine = self.packed()
        (batch,) = engine.batches(token_ids(np.array([SINGLE_TOKENS]), self.vocabulary))
        spans = []
        for _ in range(self.extent.singles):
            started = time.perf_counter()
            list(engine.run([batch]))
            spans.append((time.perf_counter() - started) * 1e3)
        return {
            "p50_ms": statistics.median(spans),
            "least_ms": min(spans),
            "graph_hits": engine.device.figures().graph_hits,
        }

    def kernels(self, texts: int, length: int) -> dict[str, Any]:
        """What the device itself spends on a batch of ``texts`` texts of ``length`` tokens."""
        engine = self.packed()
        batches = list(engine.batches(token_ids(np.full(texts, length), self.vocabulary)))
        return kernels(lambda: list(engine.run(batches)), self.device)

    def bucketed(self) -> dict[str, Any]:
        """Tokens a second of the bucketed engine, beside the packed one's, which is given up.

        Not in turn: a compiler that captures graphs gives the workspaces of matrix products
        back to memory, all of the process, and graphs captured before still write to them.
        """
        self.engine = None
        gc.collect()
        bucketed = EngineAlone.load(
            self.folder,
            Layout.PADDED,
            device=str(self.device),
            buckets=BUCKETED_BUCKETS,
            batch_sizes=BUCKETED_SIZES,
        )
        found: dict[str, Any] = {}
        for mix in FIXED_MIXES:
            rates = interleaved({BUCKETED: self.rate(bucketed, mix)}, self.extent.rounds)[BUCKETED]
            found[mix] = {"rates": rates}
            if mix in self.packed_rates:
                found[mix]["packed_over"] = self.packed_rates[mix] / statistics.median(rates)
        return found


def _memory(device: torch.device) -> float | None:
    """MiB that this process has reserved on the device."""
    return torch.cuda.memory_reserved(device) / (1 << 20) if device.type == "cuda" else None
