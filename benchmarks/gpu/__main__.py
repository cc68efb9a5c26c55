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
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import torch

from benchmarks import results
from benchmarks.gpu.end_to_end import end_to_end
from benchmarks.gpu.extent import QUICK, Extent
from benchmarks.gpu.parts import LIMIT_S, Parts
from benchmarks.gpu.show import show
from benchmarks.gpu.subject import ENGINE_MIXES, Subject
from benchmarks.shapes import SHAPES, write_checkpoint

DEFAULT_SHAPES: Final = ("bert-base", "minilm-l6", "modernbert-base")


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
                parts.run(f"{shape}: end to end", 180, partial(end_to_end, subject))
            del subject
            gc.collect()
        first = Subject(shapes[0], Path(folder) / shapes[0], device, extent)
        if parts.run(f"{shapes[0]}: load again", 60, first.load) is not None:
            parts.run(f"{shapes[0]}: bucketed", 150, first.bucketed)


def main() -> None:
    """Run, write after every part, print last."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=DEFAULT_SHAPES)
    options = results.parse(parser)
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
