"""The engine alone, in a process of its own.

``python -m benchmarks.engine.alone_process FOLDER [--device cpu]``, asked by
:class:`benchmarks.harness.child.Child`: ``rate`` (a mix, tokens) and ``single`` (a length).
"""

import argparse
import os
import statistics
import time
from pathlib import Path

import numpy as np

from benchmarks.harness.child import Answer, answer_commands
from benchmarks.harness.measure import per_second
from benchmarks.load.mixes import MIXES, lengths, token_ids
from pipeline.cli import prepare_environment
from stages.messages.batch import Layout

SINGLE_RUNS = 200


def main() -> None:
    """Load, then answer."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    prepare_environment(os.environ, os.cpu_count() or 1)

    from benchmarks.engine.alone import EngineAlone  # noqa: PLC0415 - torch reads the environment once

    engine = EngineAlone.load(options.folder, Layout.PACKED, device=options.device)
    engine.prepare()

    def rate(mix: str, tokens: int) -> Answer:
        """Tokens a second over the mix."""
        sizes = lengths(MIXES[mix], tokens)
        texts = token_ids(sizes, engine.device.vocabulary)
        batches = list(engine.batches(texts))  # a server plans while the device runs
        return {"tokens_per_s": per_second(int(sizes.sum()), lambda: list(engine.run(batches)))}

    def single(length: int) -> Answer:
        """The median time of one text alone, in ms."""
        (batch,) = engine.batches(token_ids(np.array([length]), engine.device.vocabulary))
        spans = []
        for _ in range(SINGLE_RUNS):
            started = time.perf_counter()
            list(engine.run([batch]))
            spans.append(time.perf_counter() - started)
        return {"ms": statistics.median(spans) * 1e3}

    answer_commands({"rate": rate, "single": single})


if __name__ == "__main__":
    main()
