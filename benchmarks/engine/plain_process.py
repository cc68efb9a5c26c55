"""Plain transformers in a process of its own, as anyone runs it.

``python -m benchmarks.engine.plain_process FOLDER [--threads 0]``, asked by
:class:`benchmarks.harness.child.Child`: ``arrival`` and ``sorted`` (lengths of texts). It must be
started with an environment that this project has not prepared: then neither OpenMP nor
the C library's heap is set as the engine sets them for its process.
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from benchmarks.engine.plain import PlainTransformers
from benchmarks.harness.child import Answer, answer_commands
from benchmarks.harness.measure import per_second
from benchmarks.load.mixes import token_ids
from stages.data.arrays import Float32, Int32


def main() -> None:
    """Load, then answer."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--threads", type=int, default=0, help="0: torch's own choice")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    plain = PlainTransformers.load(options.folder, torch.device("cpu"), torch.float32)

    def rate(run: Callable[[Sequence[Int32]], Float32]) -> Callable[[list[int]], Answer]:
        def tokens_per_s(sizes: list[int]) -> Answer:
            texts = token_ids(np.array(sizes), plain.vocabulary)
            return {"tokens_per_s": per_second(sum(sizes), lambda: run(texts))}

        return tokens_per_s

    answer_commands(
        {"arrival": rate(plain.in_arrival_order), "sorted": rate(plain.sorted_by_length)}
    )


if __name__ == "__main__":
    main()
