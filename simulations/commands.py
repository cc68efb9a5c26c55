"""``penstock simulate`` and ``penstock plan``, light until they run."""

import argparse
import logging
import shlex
import sys
import time
from collections.abc import Callable
from pathlib import Path

import structlog

from pipeline.commands.output_path import why_unwritable
from pipeline.process.ready_line import own_command


class Simulate:
    """Run a scenario on a virtual clock, and report."""

    help = "run the server on a virtual clock, with modelled clients and devices"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """See :class:`pipeline.commands.other_commands.Command`."""
        parser.add_argument("scenario", metavar="SCENARIO.toml", type=Path)
        parser.add_argument("--seed", type=int, default=0, help="decides all chance (default: 0)")
        parser.add_argument("--report", metavar="REPORT.html", type=Path, help="write a page")
        parser.add_argument(
            "--trace", metavar="TRACE.json", type=Path, help="write a trace of the first server"
        )

    def run(self, options: argparse.Namespace) -> int:
        """See :class:`pipeline.commands.other_commands.Command`. 1 when a check did not hold."""
        return _run(_simulate, options)


class Plan:
    """Say how many servers a scenario needs."""

    help = "find the least number of servers that holds a scenario's traffic"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """See :class:`pipeline.commands.other_commands.Command`."""
        parser.add_argument("scenario", metavar="SCENARIO.toml", type=Path)
        parser.add_argument(
            "--p99-ms", type=float, required=True, help="the 99th percentile of latency to keep"
        )
        parser.add_argument(
            "--answered", type=float, default=0.99, help="share to answer (default: 0.99)"
        )
        parser.add_argument("--most", type=int, default=64, help="servers to try (default: 64)")
        parser.add_argument("--seed", type=int, default=0, help="decides all chance (default: 0)")

    def run(self, options: argparse.Namespace) -> int:
        """See :class:`pipeline.commands.other_commands.Command`. 1 when ``--most`` are too few."""
        return _run(_plan, options)


def _run(command: Callable[[argparse.Namespace], int], options: argparse.Namespace) -> int:
    from simulations.world.scenario_errors import ScenarioError  # noqa: PLC0415

    silence()
    try:
        return command(options)
    except ScenarioError as error:
        return fail(str(error), 2)
    except BrokenPipeError:  # the reader of our output has gone
        raise
    except OSError as error:
        return fail(f"{error.filename}: {error.strerror}", 1)


def _plan(options: argparse.Namespace) -> int:
    from simulations.capacity import Goal, plan  # noqa: PLC0415 (the whole pipeline)
    from simulations.world.scenario import read_scenario  # noqa: PLC0415

    if not (options.p99_ms > 0.0 and 0.0 < options.answered <= 1.0 and options.most >= 1):
        return fail(
            "--p99-ms must be above 0, --answered above 0 and at most 1, --most at least 1", 2
        )
    scenario, goal = read_scenario(options.scenario), Goal(options.p99_ms / 1e3, options.answered)
    fewest = None
    for trial in plan(scenario, goal, seed=options.seed, most=options.most):
        print(trial.as_line(), flush=True)  # noqa: T201
        if trial.holds:
            fewest = trial.replicas
    if fewest is None:
        return fail(f"{options.most} servers do not hold this traffic", 1)
    print(f"{fewest} servers hold this traffic")  # noqa: T201
    return 0


def _simulate(options: argparse.Namespace) -> int:
    from simulations.report.page import as_page  # noqa: PLC0415 (the whole pipeline)
    from simulations.report.table import as_table  # noqa: PLC0415
    from simulations.simulation import simulate  # noqa: PLC0415
    from simulations.world.scenario import read_scenario  # noqa: PLC0415

    for path in filter(None, (options.report, options.trace)):
        if wrong := why_unwritable(path):
            return fail(f"{path}: {wrong}", 2)
    if options.report is not None and options.report == options.trace:
        return fail(f"{options.report}: --report and --trace must be different files", 2)
    scenario, started = read_scenario(options.scenario), time.perf_counter()
    if options.trace is None:
        report = simulate(scenario, seed=options.seed)
    else:
        with options.trace.open("w", encoding="utf-8") as file:
            report = simulate(scenario, seed=options.seed, write_trace=file.write)
    items, took_s = report.statistics.work.items, time.perf_counter() - started
    speed = f"{items} items in {took_s:.1f} s, {items / took_s:.0f} a second"
    print(speed, file=sys.stderr)  # noqa: T201 - not on stdout, which is the same each time
    replay = f"simulate {shlex.quote(str(options.scenario))} --seed {options.seed}"
    print(f"{as_table(report)}\n\nreplay: {own_command()} {replay}")  # noqa: T201
    if options.report is not None:
        options.report.write_text(as_page(report, f"penstock {replay}"), encoding="utf-8")
    return 1 if report.violations.total else 0


def silence() -> None:
    """Keep servers from logging the faults that a simulation injects."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))


def fail(message: str, code: int) -> int:
    """Print one line on stderr; returns ``code``, the exit code."""
    print(f"penstock: {message}", file=sys.stderr)  # noqa: T201
    return code


SIMULATE = Simulate()
PLAN = Plan()
