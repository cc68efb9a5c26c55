"""The figures as a person reads them."""

from collections.abc import Iterator, Mapping
from typing import Any

from benchmarks.gpu.subject import ARRIVAL, PACKED, SORTED
from benchmarks.harness import results


def show(figures: Mapping[str, Any]) -> str:
    """A short table, and a line for each part that says something else."""
    rows, lines = [], []
    for name, found in figures.items():
        if "error" in found:
            lines.append(f"{name}: failed: {found['error'].splitlines()[0][:200]}")
            rest = {part: found[part] for part in found if part not in {"error", "traceback"}}
            lines += _lines(name, rest)
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
        elif isinstance(value, list):
            yield from (f"{name}, {part}: {line}" for line in value)
        elif isinstance(value, dict) and "packed_over" in value:
            yield f"{name}, {part}: packed is {value['packed_over']:.2f} times as fast"
        else:
            shown = f"{value:.4g}" if isinstance(value, float) else value
            yield f"{name}, {part}: {shown}"
