"""How fast is it on a GPU? One command that tells all, within nine minutes.

``python -m benchmarks.gpu [--shapes bert-base ...] [--quick]``

Needs torch, transformers, numpy, trio, attrs and structlog for the engine; and for the
end-to-end part grpcio and this project installed with what its server needs, or that part
is left out and says so. Weights are random, in the shapes of known encoders. First comes what the
device and its libraries do by themselves; then, for each shape:

- correctness: least cosine of packed vectors to plain transformers in float32;
- one text of 32 tokens: from handing it over to having its vector; memory on the device
  before and after all graphs are captured;
- the packed engine, plain transformers (padded; in arrival order and sorted) and the
  matrix products in turn, texts of 50 and of 512 tokens;
- end to end over gRPC, 64 texts a call, in turn with the engine alone, for one shape;
- the packed engine and the others again, on the three mixes;
- the sum of the kernels of that one text and of full batches, and the costliest of them;
- what else could compute a layer's parts (:mod:`benchmarks.gpu.alternatives`);
- the bucketed engine, for one shape: each of its graphs is compiled for a long time.

A part that fails prints its error and the rest goes on; one that would not fit into the
time is left out; what is done so far is written after every part. ``--device cpu --shapes
tiny --quick`` tries it anywhere (with OMP_WAIT_POLICY=PASSIVE in the environment where
cores are few).

On a machine that has never run it, in this order, each at most ten minutes:

1. ``python -m benchmarks.gpu --quick --shapes tiny --output first.json``: whether every
   part runs at all;
2. ``python -m pytest tests/stages/device/test_cuda*.py``: whether what is claimed of CUDA is true
   (needs pytest-trio, pytest-timeout and hypothesis, too);
3. ``python -m benchmarks.gpu --shapes bert-base``: the figures;
4. ``python -m benchmarks.gpu --shapes minilm-l6 modernbert-base --output others.json``.
"""

import argparse
import faulthandler
import gc
import os
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import torch

from benchmarks.engine.shapes import SHAPES
from benchmarks.gpu import STARTED_AT
from benchmarks.gpu.apart import apart
from benchmarks.gpu.end_to_end import end_to_end
from benchmarks.gpu.extent import QUICK, Extent
from benchmarks.gpu.parts import LIMIT_S, Parts
from benchmarks.gpu.show import show
from benchmarks.gpu.subject import FIXED_MIXES, Subject
from benchmarks.harness import results
from benchmarks.load.mixes import MIXES

DEFAULT_SHAPES: Final = ("bert-base", "minilm-l6", "modernbert-base")
GRACE_S: Final = 10.0  # beyond the limit, for what has been measured to be printed
KERNELS_OF: Final = ((1, 32), (64, 512), (512, 50))  # texts and their length


def measure(parts: Parts, shapes: Sequence[str], device: torch.device, extent: Extent) -> None:
    """All parts, the most wanted first."""
    parts.run("preflight", 90, partial(apart, "benchmarks.gpu.preflight", str(device)))
    with tempfile.TemporaryDirectory() as folder:
        subjects = [Subject(shape, Path(folder) / shape, device, extent) for shape in shapes]
        for subject in subjects:
            _measure_one(parts, subject, served=subject is subjects[0])
            if subject is subjects[0] and device.type == "cuda":
                parts.run(
                    "alternatives", 60, partial(apart, "benchmarks.gpu.alternatives", str(device))
                )
            if subject is not subjects[0]:
                subject.engine = None
                gc.collect()
        parts.run(f"{shapes[0]}: bucketed", 150, subjects[0].bucketed)


def _measure_one(parts: Parts, subject: Subject, *, served: bool) -> None:
    shape = subject.shape
    parts.run(f"{shape}: load", 150, subject.load)
    if subject.engine is None:
        parts.run(f"{shape}: load, not compiled", 60, partial(subject.load, compiled=False))
    if subject.engine is None:
        return
    parts.run(f"{shape}: one text", 20, subject.single)
    parts.run(f"{shape}: correctness", 30, subject.correctness)
    parts.run(f"{shape}: all graphs", 90, subject.prepare)
    for mix in FIXED_MIXES:
        parts.run(f"{shape}: {mix}", 40, partial(subject.rates, mix))
    if served:
        found: dict[str, Any] = {}
        parts.run(f"{shape}: end to end", 240, partial(end_to_end, subject, found), found)
    for mix in MIXES:
        parts.run(f"{shape}: {mix}", 40, partial(subject.rates, mix))
    for texts, length in KERNELS_OF:  # last: a process that was profiled may launch more slowly
        name = f"{shape}: kernels of {texts} of {length} tokens"
        parts.run(name, 20, partial(subject.kernels, texts, length))


def main() -> None:
    """Run, write after every part, print last."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=DEFAULT_SHAPES)
    options = results.parse(parser)
    device = torch.device(options.device)

    def write(figures: Mapping[str, Any]) -> None:
        results.keep("gpu", {"parts": figures}, options, quiet=True)

    parts = Parts(write, started_at=STARTED_AT)
    age_s = time.monotonic() - STARTED_AT

    def give_up() -> None:
        try:
            print(show(dict(parts.figures)), flush=True)
        finally:
            os._exit(1)

    faulthandler.enable()
    # For a thread that hangs without letting others run.
    faulthandler.dump_traceback_later(LIMIT_S + GRACE_S - age_s, exit=True)
    last = threading.Timer(LIMIT_S - age_s, give_up)
    last.daemon = True  # a device that hangs cannot be interrupted otherwise
    last.start()
    try:
        measure(parts, options.shapes, device, QUICK if options.quick else Extent())
    finally:
        last.cancel()
        faulthandler.cancel_dump_traceback_later()
        took_s = time.monotonic() - parts.started_at
        print(f"{device}, torch {torch.__version__}, {took_s:.0f} s")
        print(show(parts.figures))


if __name__ == "__main__":
    main()
