import json

import pytest

from benchmarks import plots, serve
from benchmarks.engine import figures as engine
from benchmarks.load.mixes import MIXES

ABOUT = {"machine": {"processor": "a processor", "cores": 2}, "date": "2030-01-02T03:04:05+00:00"}
RATES = {engine.PACKED: 40.0, engine.BUCKETED: 30.0, engine.SORTED: 20.0, engine.ARRIVAL: 12345.0}
WAITS = {"latency_ms": {"p50": 1.0, "p99": 5.0}}
CLOSED = {"1 x 1": 10.0, "1 x 16": 20.0, "32 x 1": 30.0, "32 x 16": 35.0, serve.ENGINE: 40.0}
FIGURES = {
    "overload": {
        "contenders": {
            name: {
                "capacity_per_s": 10.0,
                "cells": {
                    f"{load} {deadline}": {
                        "load": load,
                        "deadline": deadline,
                        "goodput_per_s": 5.0,
                        "admitted_ms": {"p99": None if load > 1 else 40.0},
                    }
                    for load in (0.5, 10.0)
                    for deadline in (True, False)
                },
            }
            for name in ("penstock", "x")
        }
    },
    "engine": {"mixes": {mix: {"median_tokens_per_s": RATES} for mix in MIXES}},
    "serve": {
        "closed": {mix: {"median_tokens_per_s": CLOSED} for mix in MIXES},
        "open": {
            mix: {f"{n} x {load}": WAITS for n in (1, 32) for load in (0.5, 1.1)} for mix in MIXES
        },
    },
    "peers": {"mixes": {"queries, 1 a call": {"median_tokens_per_s": {"penstock": 2.0, "x": 1.0}}}},
}


@pytest.fixture
def folder(tmp_path):
    for name, figures in FIGURES.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(ABOUT | {"figures": figures}))
    return tmp_path


def test_every_result_is_drawn_with_its_machine(folder):
    drawn = list(plots.draw_all(folder))
    assert {path.name for path in drawn} == {f"{name}.svg" for name in plots.PICTURES}
    for path in drawn:
        text = path.read_text()
        assert "a processor, 2 cores, 2030-01-02" in text
        assert len(text) < 60_000
    assert "12,345" in (folder / "engine.svg").read_text()


def test_the_same_results_give_the_same_files(folder):
    first = [path.read_bytes() for path in plots.draw_all(folder)]
    assert first == [path.read_bytes() for path in plots.draw_all(folder)]


def test_what_was_not_measured_is_not_drawn(folder):
    (folder / "peers.json").unlink()
    assert "peers.svg" not in {path.name for path in plots.draw_all(folder)}
