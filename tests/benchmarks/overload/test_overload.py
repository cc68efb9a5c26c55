"""The whole benchmark on a tiny random model, and what it says of what it found."""

import copy
import re

import grpc
import pytest

from benchmarks.engine.shapes import write_checkpoint
from benchmarks.overload import __main__ as overload
from benchmarks.overload.calls import Ending
from benchmarks.overload.contenders import OURS, Load
from benchmarks.overload.report import show
from benchmarks.overload.scenarios import Extent
from benchmarks.overload.verdicts import verdicts
from benchmarks.overload.wires import ending

EXTENT = Extent(loads=(0.1, 2.0), ramp=0.2, window=0.5, closed=0.2, calm=0.5, spike=0.2, after=0.5)
CELL = {
    "deadline": True, "load": 1.0, "offered_per_s": 20.0, "goodput_per_s": 9.6,
    "admitted_ms": {"p50": 400.0, "p99": 900.0},
    "refused_share": 0.5, "refusal_ms": {"p50": 2.0, "p99": 5.0},
    "wasted_share": 0.001, "device_busy_share": 0.97, "device_tokens_per_s": 6123.4,
    "client_late_p99_ms": 1.0, "client_cores": 0.1,
}  # fmt: skip
FOUND = {
    "capacity_per_s": 10.0,
    "capacities_per_s": [9.0, 10.0, 11.0],
    "cells": {"2 x, with deadline": CELL},
    "spike": {"calm_p99_ms": 100.0, "recovered_after_s": 1.25},
    "fairness": {"of_fair_share": [1.0, 0.98, 1.0, 0.99], "others_kept": 0.98, "jain": 0.999},
    "restarts": 0,
}


def found(**changes):
    changed = copy.deepcopy(FOUND)
    for path, value in changes.items():
        place = changed
        *parts, last = path.split("__")
        for part in parts:
            place = place[part]
        place[last] = value
    return changed


def with_cell(**changes):
    return found(cells={"2 x, with deadline": CELL | changes})


def missed(figures):
    return [verdict.target for verdict in verdicts(figures) if not verdict.met]


def test_good_figures_meet_every_target():
    assert missed(FOUND) == []
    assert len(list(verdicts(FOUND))) == 7


@pytest.mark.parametrize(
    ("figures", "target"),
    [
        (with_cell(goodput_per_s=9.4), "goodput"),
        (with_cell(admitted_ms={"p50": 1.0, "p99": 1001.0}), "p99 of admitted"),
        (with_cell(admitted_ms={"p50": 1.0, "p99": None}), "p99 of admitted"),
        (with_cell(refusal_ms={"p50": 1.0, "p99": 20.1}), "refusals"),
        (with_cell(wasted_share=0.011), "device tokens"),
        (found(spike__recovered_after_s=5.25), "normal"),
        (found(spike__recovered_after_s=None), "normal"),
        (found(fairness__others_kept=0.94), "others"),
        (found(fairness__jain=0.94), "Jain"),
    ],
)
def test_each_target_can_be_missed(figures, target):
    (said,) = missed(figures)
    assert target in said


def test_what_does_not_apply_has_no_verdict():
    cell = {"deadline": False, "refused_share": 0.0, "wasted_share": None}
    assert len(list(verdicts(with_cell(**cell)))) == 4


def test_below_capacity_goodput_is_held_against_what_was_offered():
    assert missed(with_cell(offered_per_s=4.0, goodput_per_s=3.9)) == []


@pytest.mark.parametrize(
    ("code", "pushed_back", "expected"),
    [
        (grpc.StatusCode.UNAVAILABLE, False, Ending.REFUSED),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, False, Ending.REFUSED),
        (grpc.StatusCode.DEADLINE_EXCEEDED, True, Ending.REFUSED),
        (grpc.StatusCode.DEADLINE_EXCEEDED, False, Ending.EXPIRED),
        (grpc.StatusCode.INTERNAL, False, Ending.FAILED),
    ],
)
def test_a_refusal_is_told_from_a_deadline_that_passed(code, pushed_back, expected):
    assert ending(code, pushed_back=pushed_back) is expected


def test_what_is_shown_names_misses_peers_and_late_clients():
    figures = {
        "contenders": {OURS: with_cell(wasted_share=0.02, client_late_p99_ms=30.0), "x": FOUND},
        "missing": {"y": "no such package"},
    }
    shown = show(figures)
    assert "missed 1 of 1" in shown
    assert "2 x, with deadline: 2.00%" in shown
    assert "x: 10.0 calls/s (9.0 to 11.0)" in shown
    assert re.search(r"2\.00% +97% +6123", shown)
    assert "penstock, 2 x, with deadline: the client was 30 ms late at p99" in shown
    assert "y: not measured: no such package" in shown


def test_the_benchmark_is_whole(tmp_path):
    folder = write_checkpoint(tmp_path, "tiny")
    figures = overload.measure(folder, {OURS: EXTENT}, Load(items=16, tokens=8, clients=4))
    ours = figures["contenders"][OURS]
    assert set(ours["cells"]) == {
        f"{load} x, {place}" for load in ("0.1", "2") for place in ("with deadline", "without")
    }
    for cell in ours["cells"].values():
        assert cell["endings"]["ok"]
        assert not cell["endings"]["failed"]
        assert cell["wasted_share"] is not None
        assert cell["device_busy_share"] > 0.0
        assert cell["device_tokens_per_s"] > 0.0
    assert len(ours["fairness"]["of_fair_share"]) == 4
    assert "target" in show(figures)
