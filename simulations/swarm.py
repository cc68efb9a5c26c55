"""Many random scenarios (:mod:`simulations.random_scenario`), and the seeds that failed.

``python -m simulations.swarm [--seeds 100] [--first SEED]`` runs them on all cores, and
``--only SEED`` one, with its report. A seed decides scenario and run. Seeds that fail are
added to ``simulations/regressions.txt``, which the tests run; each line has a seed and
what it showed.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Final

from simulations.commands import silence
from simulations.random_scenario import scenario_of
from simulations.report.report import Report
from simulations.report.table import as_table
from simulations.simulation import simulate

REGRESSIONS: Final = Path(__file__).parent / "regressions.txt"


def run(seed: int) -> Report:
    """What the scenario of a seed shows."""
    return simulate(scenario_of(seed), seed=seed)


def failure_of(seed: int) -> str:
    """The first check that does not hold, in one line; "" if all do."""
    silence()
    try:
        found = run(seed).violations.sentences
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return found[0] if found else ""


def regressions() -> list[int]:
    """The seeds in the list."""
    lines = REGRESSIONS.read_text("utf-8").splitlines()
    return [int(line.split()[0]) for line in lines if line and not line.startswith("#")]


def search(
    seeds: Sequence[int], apply: Callable[[Callable[[int], str], Sequence[int]], Iterable[str]]
) -> int:
    """Run all with ``apply`` (map, or one on several cores); returns how many failed.

    New failures are added to the list.
    """
    known, failed = set(regressions()), 0
    for seed, failure in zip(seeds, apply(failure_of, seeds), strict=True):
        if not failure:
            continue
        failed += 1
        print(f"seed {seed}: {failure}\n  python -m simulations.swarm --only {seed}")  # noqa: T201
        if seed not in known:
            with REGRESSIONS.open("a", encoding="utf-8") as file:
                file.write(f"{seed} {failure}\n")
    return failed


def main() -> int:
    """1 when anything failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=100, help="how many")
    parser.add_argument("--first", type=int, help="the first of them; default: by the clock")
    parser.add_argument("--only", type=int, metavar="SEED", help="run one and print its report")
    options = parser.parse_args()
    if options.only is not None:
        silence()
        report = run(options.only)
        print(f"{report.scenario}\n\n{as_table(report)}")  # noqa: T201
        return 1 if report.violations.total else 0
    first = int(time.time()) if options.first is None else options.first
    with ProcessPoolExecutor() as pool:
        failed = search(range(first, first + options.seeds), pool.map)
    print(f"{options.seeds} seeds from {first}: {failed} failed")  # noqa: T201
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
