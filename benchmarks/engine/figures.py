"""What the engine and the others reach in the same rounds, and how they compare."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness.child import Child
from benchmarks.harness.measure import Rates, interleaved, per_second, ratio
from benchmarks.load.mixes import MIXES, Draw, Lengths, lengths, token_ids

if TYPE_CHECKING:  # at run time it would import torch too early
    from benchmarks.engine.alone import EngineAlone
    from stages.data.arrays import Int32

PACKED, BUCKETED, HALF = "packed", "bucketed", "packed, bfloat16"
ARRIVAL, SORTED = "transformers, arrival order, 32", "transformers, sorted, 4096"
SORTED_INSIDE = f"{SORTED}, in the engine's process"
SORTED_HALF = f"{SORTED_INSIDE}, bfloat16"
PEAK = "matrix products"


def measure(
    folder: Path,
    plain: Child,
    *,
    tokens: int,
    rounds: int,
    threads: int = 0,
    mixes: Mapping[str, Draw] = MIXES,
    half: bool = False,
) -> dict[str, Any]:
    """Figures of the model in ``folder``: of each mix the rates, ratios and shares of the peak.

    ``plain`` is a :mod:`benchmarks.engine.plain_process`. ``tokens`` are embedded by each contender
    in each round of each mix; with ``half`` bfloat16 is one of them.
    """
    import torch  # noqa: PLC0415 - reads the environment when it is imported

    from benchmarks.engine.alone import EngineAlone  # noqa: PLC0415
    from benchmarks.engine.plain import PlainTransformers  # noqa: PLC0415
    from benchmarks.engine.roofline import ModelFlops, Peak  # noqa: PLC0415
    from stages.messages.batch import Layout  # noqa: PLC0415

    cpu = torch.device("cpu")
    packed, bucketed = (EngineAlone.load(folder, layout, threads=threads) for layout in Layout)
    inside = PlainTransformers.load(folder, cpu, torch.float32)
    halved = _halved(folder, threads) if half else None
    inside_half = PlainTransformers.load(folder, cpu, torch.bfloat16) if half else None
    flops = ModelFlops.of(folder)
    peak = Peak(flops.shapes, cpu, torch.float32)
    figures: dict[str, Any] = {"threads": torch.get_num_threads(), "mixes": {}}
    for name, draw in mixes.items():
        sizes = lengths(draw, tokens)
        texts, total = token_ids(sizes, packed.device.vocabulary), int(sizes.sum())

        contenders: dict[str, Callable[[], float]] = {
            PACKED: _engine(packed, texts, total),
            BUCKETED: _engine(bucketed, texts, total),
            ARRIVAL: _asked(plain, "arrival", sizes),
            SORTED: _asked(plain, "sorted", sizes),
            SORTED_INSIDE: partial(per_second, total, partial(inside.sorted_by_length, texts)),
            PEAK: peak.measure,
        }
        if halved is not None and inside_half is not None:
            contenders[HALF] = _engine(halved, texts, total)
            contenders[SORTED_HALF] = partial(
                per_second, total, partial(inside_half.sorted_by_length, texts)
            )
        rates = interleaved(contenders, rounds)
        figures["mixes"][name] = {
            "texts": len(texts),
            "tokens": total,
            "flops_per_token": flops.of_texts(sizes) / total,
            "rates": rates,
            **compared(rates, flops.of_texts(sizes) / total),
        }
        if halved is not None:
            near = _cosines(packed.embed(texts), halved.embed(texts))
            figures["mixes"][name]["bfloat16_over_transformers"] = ratio(
                rates[HALF], rates[SORTED_HALF]
            )
            figures["mixes"][name]["bfloat16_cosine"] = {
                "mean": float(near.mean()),
                "least": float(near.min()),
            }
    return figures


def _halved(folder: Path, threads: int) -> "EngineAlone":
    from benchmarks.engine.alone import EngineAlone  # noqa: PLC0415
    from stages.messages.batch import Layout  # noqa: PLC0415

    return EngineAlone.load(folder, Layout.PACKED, dtype="bfloat16", threads=threads)


def _cosines(vectors: NDArray[np.float32], others: NDArray[np.float32]) -> NDArray[np.float32]:
    """Of each row with its counterpart, [texts]."""
    lengths = np.linalg.norm(vectors, axis=1) * np.linalg.norm(others, axis=1)
    cosines: NDArray[np.float32] = (vectors * others).sum(axis=1) / lengths
    return cosines


def _engine(engine: "EngineAlone", texts: Sequence["Int32"], tokens: int) -> Callable[[], float]:
    """Tokens a second; the batches are planned before, as a server does while the device runs."""
    batches = list(engine.batches(texts))
    return lambda: per_second(tokens, lambda: list(engine.run(batches)))


def _asked(plain: Child, order: str, sizes: Lengths) -> Callable[[], float]:
    """Tokens a second of texts with these lengths, in the other process."""
    return lambda: float(plain.ask(do=order, sizes=sizes.tolist())["tokens_per_s"])


def compared(rates: Rates, flops_per_token: float) -> dict[str, Any]:
    """Medians, ratios of the packed engine to the others, and each one's share of the peak."""
    names = [name for name in rates if name != PEAK]
    return {
        "median_tokens_per_s": {name: statistics.median(rates[name]) for name in names},
        "peak_flops_per_s": statistics.median(rates[PEAK]),
        "packed_over": {name: ratio(rates[PACKED], rates[name]) for name in names[1:]},
        "share_of_peak": {
            name: ratio(rates[name], rates[PEAK]) * flops_per_token for name in names
        },
    }
