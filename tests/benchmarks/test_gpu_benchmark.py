"""The GPU benchmark's frame, and its engine parts on the CPU with a tiny shape."""

from functools import partial

import pytest
import torch

from benchmarks import roofline
from benchmarks.gpu import end_to_end, subject
from benchmarks.gpu import parts as part
from benchmarks.gpu.extent import Extent
from benchmarks.gpu.show import show
from benchmarks.mixes import fixed
from benchmarks.shapes import write_checkpoint

EXTENT = Extent(tokens=300, plain_tokens=300, rounds=1, singles=2, seconds=0.1)


@pytest.fixture(autouse=True)
def small_peak(monkeypatch):
    monkeypatch.setattr(roofline, "SQUARE", {"cpu": 64})
    monkeypatch.setattr(roofline, "PEAK_SLICE_S", 0.0)


@pytest.fixture
def written():
    return []


@pytest.fixture
def parts(written):
    return part.Parts(lambda figures: written.append(dict(figures)))


def test_a_part_that_fails_is_kept_and_the_rest_goes_on(parts, written, capsys):
    def fail():
        raise RuntimeError("no such kernel")

    assert parts.run("first", 10, fail) is None
    assert parts.run("second", 10, lambda: {"p50_ms": 1.5}) == {"p50_ms": 1.5}
    assert parts.figures["first"]["error"] == "RuntimeError: no such kernel"
    assert "in fail" in parts.figures["first"]["traceback"]
    assert parts.figures["second"]["p50_ms"] == 1.5
    assert [set(figures) for figures in written] == [{"first"}, {"first", "second"}]
    assert "first: RuntimeError: no such kernel" in capsys.readouterr().out


def test_a_part_is_stopped_at_its_limit(parts, monkeypatch):
    def hang():
        while True:
            pass

    monkeypatch.setattr(part, "LIMIT_S", part.LAST_S + 1.1)
    assert parts.run("hanging", 60, hang) is None
    assert "OutOfTime" in parts.figures["hanging"]["error"]
    assert parts.run("late", 60, dict) is None
    assert "no time left" in parts.figures["late"]["error"]


def test_end_to_end_is_left_out_with_a_reason_where_it_cannot_run(parts, tmp_path, monkeypatch):
    monkeypatch.setattr(end_to_end, "SERVER_NEEDS", ("no_such_package",))
    tiny = subject.Subject("tiny", tmp_path, torch.device("cpu"), EXTENT)
    parts.run("end to end", 10, partial(end_to_end.end_to_end, tiny))
    assert "left out: no_such_package cannot be imported" in show(parts.figures)


def test_the_engine_parts_run_on_a_cpu(parts, tmp_path, monkeypatch):
    monkeypatch.setattr(subject, "ENGINE_MIXES", {"50": fixed(50)})
    folder = write_checkpoint(tmp_path, "tiny")
    tiny = subject.Subject("tiny", folder, torch.device("cpu"), EXTENT)
    for step in (tiny.load, tiny.correctness, tiny.single, lambda: tiny.rates("50")):
        assert parts.run(f"part {len(parts.figures)}", 60, step) is not None
    assert parts.figures["part 1"]["least_cosine"] > 0.9999
    shown = show(parts.figures)
    assert "least_cosine: 1" in shown
    assert "of peak" in shown
