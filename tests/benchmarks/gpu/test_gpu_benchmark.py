"""The GPU benchmark's frame, and its engine parts on the CPU with a tiny shape."""

from contextlib import suppress
from functools import partial

import pytest
import torch

from benchmarks.engine import roofline
from benchmarks.gpu import __main__ as main
from benchmarks.gpu import end_to_end, kernels, preflight, subject
from benchmarks.gpu import parts as part
from benchmarks.gpu.apart import apart
from benchmarks.gpu.extent import Extent
from benchmarks.gpu.show import show
from benchmarks.load.mixes import fixed

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


def test_a_part_is_stopped_at_its_limit_even_where_every_error_is_mended(parts, monkeypatch):
    def hang():
        with suppress(Exception):
            while True:
                pass
        return {"mended": True}

    monkeypatch.setattr(part, "LIMIT_S", part.LAST_S + 30)
    assert parts.run("hanging", 0.2, hang) is None
    assert "OutOfTime" in parts.figures["hanging"]["error"]
    assert parts.run("too long", 100, dict) is None
    assert "no time left" in parts.figures["too long"]["error"]
    assert parts.run("short", 5, lambda: {"p50_ms": 1.5}) == {"p50_ms": 1.5}


def test_what_a_part_found_before_it_failed_is_kept_and_shown(parts):
    found = {}

    def fail():
        found["512"] = {"median_tokens_per_s": 2e6, "over_engine": 0.9}
        raise RuntimeError("no such kernel")

    parts.run("served", 10, fail, found)
    assert parts.figures["served"]["512"]["over_engine"] == 0.9
    shown = show(parts.figures)
    assert "served: failed: RuntimeError: no such kernel" in shown
    assert "served, 512: 2.000M tokens/s, 0.90 of the engine" in shown


def test_what_cannot_be_written_is_measured_all_the_same(capsys):
    def full(_):
        raise OSError("no space left")

    parts = part.Parts(full)
    assert parts.run("first", 10, lambda: {"p50_ms": 1.5}) == {"p50_ms": 1.5}
    assert "not written: OSError: no space left" in capsys.readouterr().out


def test_a_shape_that_cannot_be_compiled_is_measured_as_it_is(parts):
    class Uncompilable(subject.Subject):
        def load(self, *, compiled=True):
            if compiled:
                raise RuntimeError("no compiler")
            return {"loaded": "not compiled"}

    cpu = torch.device("cpu")
    main._measure_one(parts, Uncompilable("tiny", "", cpu, EXTENT), served=False)
    assert "no compiler" in parts.figures["tiny: load"]["error"]
    assert parts.figures["tiny: load, not compiled"]["loaded"] == "not compiled"


def test_before_any_model_it_is_told_what_there_is_and_what_fails(monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("no kernel image")

    found = preflight.preflight(torch.device("cpu"))
    assert found["torch"] == torch.__version__
    assert all(found[f"attention, {name}"] == 0.0 for name in preflight.ATTENTIONS)
    monkeypatch.setattr(preflight, "packed_attention", fail)
    found = preflight.preflight(torch.device("cpu"))
    assert found["attention, window"] == "RuntimeError: no kernel image"


def test_a_batch_s_costliest_kernels_are_told_with_their_sum(parts):
    given = torch.randn(64, 64)
    found = kernels.kernels(lambda: torch.mm(given, given).exp(), torch.device("cpu"))
    parts.run("kernels", 10, lambda: found)
    assert found["kernels_ms"] > 0
    assert found["device_ms"] > 0
    assert any("aten::mm" in line for line in found["costliest"])
    assert "in 1 of aten::exp" in show(parts.figures)


def test_the_alternatives_are_tried_in_a_process_of_their_own():
    found = apart("benchmarks.gpu.alternatives", "cpu")
    assert found["1 of 32 tokens, one product of 2304"] == "done"
    assert "Error" in found["1 of 32 tokens, attention of cuDNN"]  # needs CUDA
    with pytest.raises(RuntimeError, match=r"(?s)ended with 1: .*such_device"):
        apart("benchmarks.gpu.alternatives", "no_such_device")


def test_end_to_end_is_left_out_with_a_reason_where_it_cannot_run(parts, tmp_path, monkeypatch):
    monkeypatch.setattr(end_to_end, "SERVER_NEEDS", ("no_such_package",))
    tiny = subject.Subject("tiny", tmp_path, torch.device("cpu"), EXTENT)
    parts.run("end to end", 10, partial(end_to_end.end_to_end, tiny, {}))
    assert "left out: no_such_package not installed" in show(parts.figures)


def test_the_engine_parts_run_on_a_cpu(parts, tmp_path, monkeypatch):
    monkeypatch.setattr(subject, "ENGINE_MIXES", {"50": fixed(50)})
    tiny = subject.Subject("tiny", tmp_path, torch.device("cpu"), EXTENT)
    steps = tiny.load, tiny.correctness, tiny.prepare, tiny.single, lambda: tiny.rates("50")
    for step in steps:
        assert parts.run(f"part {len(parts.figures)}", 60, step) is not None
    assert parts.figures["part 1"]["least_cosine"] > 0.9999
    shown = show(parts.figures)
    assert "least_cosine: 1" in shown
    assert "of peak" in shown


def test_the_bucketed_engine_is_measured_when_the_packed_one_is_gone(parts, tmp_path, monkeypatch):
    monkeypatch.setattr(subject, "ENGINE_MIXES", {"512": fixed(512), "50": fixed(50)})
    monkeypatch.setattr(subject, "BUCKETED_SIZES", (2,))
    tiny = subject.Subject("tiny", tmp_path, torch.device("cpu"), EXTENT)
    steps = tiny.load, lambda: tiny.rates("50"), tiny.bucketed
    for step in steps:
        assert parts.run(f"part {len(parts.figures)}", 60, step) is not None
    assert tiny.engine is None
    found = parts.figures["part 2"]
    assert found["50"]["packed_over"] > 0
    assert found["512"]["rates"]
    assert "packed_over" not in found["512"]  # nothing to compare with
    assert "part 2, 50: packed is" in show(parts.figures)
