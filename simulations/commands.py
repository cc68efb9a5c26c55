"""``penstock simulate``: a :class:`pipeline.commands.Command`, light until it runs."""

import argparse
import logging
import shlex
import sys
from pathlib import Path

import structlog

from pipeline.ready import own_command


class Simulate:
    """Run a scenario on a virtual clock, and report."""

    help = "run the server on a virtual clock, with modelled clients and devices"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """See :class:`pipeline.commands.Command`."""
        parser.add_argument("scenario", metavar="SCENARIO.toml", type=Path)
        parser.add_argument("--seed", type=int, default=0, help="decides all chance (default: 0)")
        parser.add_argument("--report", metavar="REPORT.html", type=Path, help="write a page")
        parser.add_argument(
            "--trace", metavar="TRACE.json", type=Path, help="write a trace of the first server"
        )

    def run(self, options: argparse.Namespace) -> int:
        """See :class:`pipeline.commands.Command`. 1 when a check did not hold."""
        from simulations.misfit import ScenarioError  # noqa: PLC0415

        silence()
        try:
            return _simulate(options)
        except ScenarioError as error:
            return fail(str(error), 2)
        except OSError as error:
            return fail(f"{error.filename}: {error.strerror}", 1)


def _simulate(options: argparse.Namespace) -> int:
    from simulations.page import as_page  # noqa: PLC0415 (the whole pipeline)
    from simulations.report import as_table  # noqa: PLC0415
    from simulations.scenario import read_scenario  # noqa: PLC0415
    from simulations.simulation import simulate  # noqa: PLC0415

    scenario = read_scenario(options.scenario)
    if options.trace is None:
        report = simulate(scenario, seed=options.seed)
    else:
        with options.trace.open("w", encoding="utf-8") as file:
            report = simulate(scenario, seed=options.seed, write_trace=file.write)
    replay = f"simulate {shlex.quote(str(options.scenario))} --seed {options.seed}"
    print(f"{as_table(report)}\n\nreplay: {own_command()} {replay}")  # noqa: T201
    if options.report is not None:
        options.report.write_text(as_page(report, f"penstock {replay}"), encoding="utf-8")
    return 1 if report.violations.total else 0


def silence() -> None:
    """What servers would log of faults is no news in a simulation."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))


def fail(message: str, code: int) -> int:
    """Say it in one line on stderr; returns ``code``, the exit code."""
    print(f"penstock: {message}", file=sys.stderr)  # noqa: T201
    return code


SIMULATE = Simulate()
