"""How fast is it on a GPU? One command that tells all, within nine minutes.

``python -m benchmarks.gpu [--shapes bert-base ...] [--quick]``

Needs only torch, transformers, numpy, trio and attrs for the engine, and what the
server and grpcio need for the end-to-end part; without these that part is left out
and says so. Weights are random, in the shapes of known encoders. For each shape:

- correctness: least cosine of packed vectors to plain transformers in float32;
- the packed engine, plain transformers (padded; in arrival order and sorted) and the
  matrix products in turn, texts of 50 and of 512 tokens and the three mixes;
- one text of 32 tokens: from handing it over to having its vector, and the sum of its
  kernels; memory on the device before and after all graphs are captured;
- end to end over gRPC, 64 texts a call, in turn with the engine alone;
- the bucketed engine, for one shape: each of its graphs is compiled for a long time.

A part that fails prints its error and the rest goes on; what is done so far is
written after every part. ``--device cpu --shapes tiny --quick`` tries it anywhere
(with OMP_WAIT_POLICY=PASSIVE in the environment where cores are few).
"""

import argparse
import faulthandler
import gc
import os
import signal
import statistics
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from attrs import define, field, frozen

from benchmarks import results
from benchmarks.alone import EngineAlone
from benchmarks.measure import interleaved, per_second, ratio
from benchmarks.mixes import MIXES, Draw, fixed, lengths, token_ids
from benchmarks.plain import PlainTransformers
from benchmarks.roofline import ModelFlops, Peak
from benchmarks.shapes import SHAPES, write_checkpoint
from stages.messages import Batch, Layout

LIMIT_S: Final = 520.0  # by this benchmark's own clock
LAST_S: Final = 15.0  # before the limit all parts must be over
DEFAULT_SHAPES: Final = ("bert-base", "minilm-l6", "modernbert-base")
ENGINE_MIXES: Final[Mapping[str, Draw]] = {"512": fixed(512), "50": fixed(50), **MIXES}
CALLS: Final = (("512", "penstock, ids"), ("512", "penstock"),
                ("50", "penstock, ids, float16"), ("50", "penstock, float16"))  # fmt: skip
SERVER_NEEDS: Final = ("grpclib", "grpc", "google.protobuf", "hypercorn", "starlette", "structlog")
CALL_TEXTS: Final = 64
CLIENTS: Final = 16
SINGLE_TOKENS: Final = 32
PACKED, BUCKETED, ARRIVAL, SORTED, PEAK = "packed", "bucketed", "arrival", "sorted", "peak"
# One graph for each of the two fixed lengths, of a full batch.
BUCKETED_BUCKETS: Final = (64, 512)
BUCKETED_SIZES: Final = (64, 512)


@frozen
class Extent:
    """How much is measured."""

    tokens: int = 2_000_000  # a contender, a round
    plain_tokens: int = 100_000
    rounds: int = 3
    singles: int = 200
    seconds: float = 3.0  # a closed loop


QUICK: Final = Extent(tokens=4096, plain_tokens=4096, rounds=1, singles=5, seconds=0.5)


class OutOfTime(Exception):
    """A part took longer than it may."""


@define(eq=False)
class Parts:
    """Runs one part after the other, each within its own time and all within the limit."""

    write: Callable[[Mapping[str, Any]], None]
    figures: dict[str, Any] = field(factory=dict)
    started_at: float = field(factory=time.monotonic)

    def left_s(self) -> float:
        """Seconds that parts may still take."""
        return LIMIT_S - LAST_S - (time.monotonic() - self.started_at)

    def run(self, name: str, limit_s: float, part: Callable[[], Any]) -> Any:
        """What ``part`` returns, kept under ``name``; None when it failed, which is kept too."""
        limit_s = min(limit_s, self.left_s())
        print(f"{name} ...", file=sys.stderr, flush=True)
        started = time.monotonic()
        try:
            with _alarm(limit_s):
                result = part()
        except Exception as error:
            result = None
            self.figures[name] = {
                "error": f"{type(error).__name__}: {error}"[:2000],
                "traceback": traceback.format_exc()[-4000:],
            }
            print(f"{name}: {type(error).__name__}: {error}", flush=True)
        else:
            if isinstance(result, dict):
                self.figures[name] = result | {"took_s": time.monotonic() - started}
        self.write(self.figures)
        return result


@contextmanager
def _alarm(limit_s: float) -> Iterator[None]:
    def ring(*_: object) -> None:
        raise OutOfTime(f"not done within {limit_s:.0f} s")

    if limit_s < 1:
        raise OutOfTime("no time left")
    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, limit_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@define(eq=False)
class Subject:
    """One shape on one device."""

    shape: str
    folder: Path
    device: torch.device
    extent: Extent
    engine: EngineAlone | None = None
    settle_s: float = 0.0  # from ready to prepared

    @property
    def vocabulary(self) -> int:
        """Token ids of the shape."""
        return int(SHAPES[self.shape][1]["vocab_size"])

    def packed(self) -> EngineAlone:
        """The packed engine, if it could be loaded."""
        if self.engine is None:
            raise RuntimeError("there is no packed engine")
        return self.engine

    def load(self) -> dict[str, Any]:
        """Load the packed engine; how long until it could serve, and until it had all graphs."""
        started = time.monotonic()
        self.engine = EngineAlone.load(self.folder, Layout.PACKED, device=str(self.device))
        ready_s, before = time.monotonic() - started, _memory(self.device)
        self.engine.prepare()
        prepared_s = time.monotonic() - started
        self.settle_s = prepared_s - ready_s
        return {
            "dtype": self.engine.device.dtype,
            "ready_s": ready_s,
            "prepared_s": prepared_s,
            "memory_mib": {"ready": before, "prepared": _memory(self.device)},
        }

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
            PACKED: self._rate(engine, mix),
            ARRIVAL: partial(per_second, total, partial(plain.in_arrival_order, texts)),
            SORTED: partial(per_second, total, partial(plain.sorted_by_length, texts)),
            PEAK: Peak(flops.shapes, self.device, dtype).measure,
        }
        rates = interleaved(contenders, extent.rounds)
        per_token = flops.of_texts(sizes) / float(sizes.sum())
        return {
            "rates": rates,
            "median_tokens_per_s": {name: statistics.median(rates[name]) for name in rates},
            "flops_per_token": per_token,
            "share_of_peak": ratio(rates[PACKED], rates[PEAK]) * per_token,
            "packed_over": {name: ratio(rates[PACKED], rates[name]) for name in (ARRIVAL, SORTED)},
        }

    def _rate(self, engine: EngineAlone, mix: str) -> Callable[[], float]:
        """Tokens a second; planned before, as a server does while the device runs."""
        sizes = lengths(ENGINE_MIXES[mix], self.extent.tokens)
        batches = list(engine.batches(token_ids(sizes, self.vocabulary)))
        return lambda: per_second(float(sizes.sum()), lambda: list(engine.run(batches)))

    def single(self) -> dict[str, Any]:
        """One text alone: ms from handing it over to its vector, and ms of its kernels."""
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
            "kernels_ms": _kernels_ms(engine, batch) if self.device.type == "cuda" else None,
        }

    def bucketed(self) -> dict[str, Any]:
        """Tokens a second of the bucketed engine, in turn with the packed one."""
        packed = self.packed()
        bucketed = EngineAlone.load(
            self.folder,
            Layout.PADDED,
            device=str(self.device),
            buckets=BUCKETED_BUCKETS,
            batch_sizes=BUCKETED_SIZES,
        )
        found: dict[str, Any] = {}
        for mix in ("512", "50"):
            contenders = {PACKED: self._rate(packed, mix), BUCKETED: self._rate(bucketed, mix)}
            rates = interleaved(contenders, self.extent.rounds)
            found[mix] = {"rates": rates, "packed_over": ratio(rates[PACKED], rates[BUCKETED])}
        return found

    def end_to_end(self) -> dict[str, Any]:
        """Tokens a second over gRPC, in turn with the engine alone."""
        if missing := [name for name in SERVER_NEEDS if find_spec(name) is None]:
            raise RuntimeError(f"left out: {', '.join(missing)} cannot be imported")
        from benchmarks.child import running_child  # noqa: PLC0415 - not everywhere
        from benchmarks.server_process import ADMIT_ALL, running_server  # noqa: PLC0415 - nor this

        environment = {"MODEL_PATH": str(self.folder), "DEVICE": str(self.device), **ADMIT_ALL}
        found: dict[str, Any] = {}
        with running_child("benchmarks.load_client") as client, running_server(environment) as at:
            time.sleep(1.2 * self.settle_s)  # a server under load has no idle gaps to prepare in
            for mix, protocol in CALLS:
                served = partial(
                    client.ask,
                    do="closed",
                    target=at.grpc,
                    protocol=protocol,
                    mix=mix,
                    items=CALL_TEXTS,
                    clients=CLIENTS,
                    seconds=self.extent.seconds,
                    vocabulary=self.vocabulary,
                )
                alone = self._rate(self.packed(), mix)
                answers: list[Any] = []

                def serve(served: Callable[[], Any] = served, kept: list[Any] = answers) -> float:
                    kept.append(served())
                    return float(kept[-1]["tokens_per_s"])

                rates = interleaved({"server": serve, PACKED: alone}, self.extent.rounds)
                found[f"{mix}: {protocol}"] = {
                    "rates": rates,
                    "median_tokens_per_s": statistics.median(rates["server"]),
                    "over_engine": ratio(rates["server"], rates[PACKED]),
                    "answers": answers,
                }
        return found


def _kernels_ms(engine: EngineAlone, batch: Batch) -> float:
    """The sum of what the device itself spends on one batch."""
    activities = [torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=activities) as profile:
        list(engine.run([batch]))
    total_us: float = sum(event.self_device_time_total for event in profile.key_averages())
    return total_us / 1e3


def _memory(device: torch.device) -> float | None:
    """MiB that this process has reserved on the device."""
    return torch.cuda.memory_reserved(device) / (1 << 20) if device.type == "cuda" else None


def measure(parts: Parts, shapes: Sequence[str], device: torch.device, extent: Extent) -> None:
    """All parts, the most wanted first."""
    with tempfile.TemporaryDirectory() as folder:
        for shape in shapes:
            checkpoint = write_checkpoint(Path(folder) / shape, shape)
            subject = Subject(shape, checkpoint, device, extent)
            if parts.run(f"{shape}: load", 120, subject.load) is None:
                continue
            parts.run(f"{shape}: correctness", 30, subject.correctness)
            parts.run(f"{shape}: one text", 20, subject.single)
            for mix in ENGINE_MIXES:
                parts.run(f"{shape}: {mix}", 40, partial(subject.rates, mix))
            if shape == shapes[0]:
                parts.run(f"{shape}: end to end", 180, subject.end_to_end)
            del subject
            gc.collect()
        first = Subject(shapes[0], Path(folder) / shapes[0], device, extent)
        if parts.run(f"{shapes[0]}: load again", 60, first.load) is not None:
            parts.run(f"{shapes[0]}: bucketed", 150, first.bucketed)


def show(figures: Mapping[str, Any]) -> str:
    """A short table, and a line for each part that says something else."""
    rows, lines = [], []
    for name, found in figures.items():
        if "error" in found:
            lines.append(f"{name}: failed: {found['error'].splitlines()[0][:200]}")
        elif "share_of_peak" in found:
            medians, over = found["median_tokens_per_s"], found["packed_over"]
            rows.append(
                [
                    name,
                    f"{medians[PACKED] / 1e6:.3f}M",
                    f"{found['share_of_peak']:.2f}",
                    f"{over[ARRIVAL]:.2f}",
                    f"{over[SORTED]:.2f}",
                ]
            )
        else:
            lines += _lines(name, found)
    head = ["packed, tokens/s", "", "of peak", "/ arrival order", "/ sorted"]
    return "\n".join([*lines, results.table(head, rows)])


def _lines(name: str, found: Mapping[str, Any]) -> Iterator[str]:
    for part, value in found.items():
        if isinstance(value, dict) and "over_engine" in value:
            rate, over = value["median_tokens_per_s"], value["over_engine"]
            yield f"{name}, {part}: {rate / 1e6:.3f}M tokens/s, {over:.2f} of the engine"
        elif isinstance(value, dict) and "packed_over" in value:
            yield f"{name}, {part}: packed is {value['packed_over']:.2f} times as fast"
        else:
            shown = f"{value:.4g}" if isinstance(value, float) else value
            yield f"{name}, {part}: {shown}"


def main() -> None:
    """Run, write after every part, print last."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=DEFAULT_SHAPES)
    results.add_options(parser)
    options = parser.parse_args()
    device = torch.device(options.device)
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else ""

    def write(figures: Mapping[str, Any]) -> None:
        results.keep("gpu", {"gpu": gpu, "parts": figures}, options, quiet=True)

    parts = Parts(write)
    faulthandler.enable()
    last = threading.Timer(LIMIT_S, lambda: (print(show(parts.figures), flush=True), os._exit(1)))
    last.daemon = True  # a device that hangs cannot be interrupted otherwise
    last.start()
    extent = QUICK if options.quick else Extent()
    measure(parts, options.shapes, device, extent)
    last.cancel()
    print(
        f"{gpu or device}, torch {torch.__version__}, {time.monotonic() - parts.started_at:.0f} s"
    )
    print(show(parts.figures))


if __name__ == "__main__":
    main()
