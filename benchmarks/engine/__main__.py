"""How fast is the engine, beside plain transformers and the machine's own limit?

``python -m benchmarks.engine [--quick]``

With the same threads, weights and token ids: this project's packed and bucketed
engine with batches as the planner makes them, plain transformers padded in the order
of arrival and sorted by length, and the machine's matrix products. One after another
in each round; rates are medians over the rounds, ratios the medians of each round's
ratio. Where the processor has units for bfloat16, the packed engine with DTYPE=bfloat16
and transformers in bfloat16, sorted by length, run along, and how near the engine's
vectors are to float32.

Plain transformers has a process of its own, which is how anyone runs it. Sorted by
length it also runs in the engine's process, where it has what the engine sets for all
of it: a heap that keeps its memory (:mod:`stages.device.cpu.heap`), threads that do not spin.
"""

import argparse
import os
from collections.abc import Mapping
from typing import Any

from benchmarks.engine.figures import HALF, PACKED, SORTED_HALF, measure
from benchmarks.harness import results
from benchmarks.harness.child import running_child
from benchmarks.load.texts import full_length_model
from pipeline.cli import prepare_environment


def show(figures: Mapping[str, Any]) -> str:
    """The figures as text."""
    head = ["tokens/s", *figures["mixes"]]
    mixes = list(figures["mixes"].values())
    rows: list[list[str]] = [
        [name, *(f"{mix['median_tokens_per_s'][name]:,.0f}" for mix in mixes)]
        for name in mixes[0]["median_tokens_per_s"]
    ]
    rows += [
        [f"packed / {name}", *(f"{mix['packed_over'][name]:.2f}" for mix in mixes)]
        for name in mixes[0]["packed_over"]
    ]
    rows += [
        ["matrix products, GFLOP/s", *(f"{mix['peak_flops_per_s'] / 1e9:.0f}" for mix in mixes)],
        ["packed, share of it", *(f"{mix['share_of_peak'][PACKED]:.2f}" for mix in mixes)],
    ]
    if "bfloat16_cosine" in mixes[0]:
        rows.append(
            [
                f"{HALF} / {SORTED_HALF}",
                *(f"{mix['bfloat16_over_transformers']:.2f}" for mix in mixes),
            ]
        )
        rows.append(
            [
                "bfloat16, cosine to float32, mean (least)",
                *(
                    f"{mix['bfloat16_cosine']['mean']:.4f} ({mix['bfloat16_cosine']['least']:.4f})"
                    for mix in mixes
                ),
            ]
        )
    return results.table(head, rows)


def main() -> None:
    """Run, print and write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.engine", description=__doc__)
    parser.add_argument("--tokens", type=int, default=24_576, help="a contender, a round, a mix")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=0, help="0: a thread a core")
    options = results.parse(parser)
    if options.quick:
        options.tokens, options.rounds = 8192, 3

    with (
        full_length_model() as folder,
        running_child(
            "benchmarks.engine.plain_process", str(folder), "--threads", str(options.threads)
        ) as plain,
    ):
        prepare_environment(os.environ, os.cpu_count() or 1)  # the child was started without
        figures = measure(
            folder,
            plain,
            tokens=options.tokens,
            rounds=options.rounds,
            threads=options.threads,
            half=results.has_bfloat16(),
        )
    print(show(figures))
    results.keep("engine", figures, options)


if __name__ == "__main__":
    main()
