"""Client, server and raw engine in processes of their own, on a tiny random model."""

import pytest

from benchmarks import serve
from benchmarks.engine.shapes import write_checkpoint
from benchmarks.load.load_client import Tally, calls

EXTENT = serve.Extent(
    clients=(1, 2), loads=(0.5,), rounds=1, seconds=0.1, open_seconds=0.3, engine_tokens=500
)


def test_calls_know_their_tokens():
    work = calls("penstock", "128", 32)
    assert set(work.tokens) == {32 * 128}
    assert len(work.tokens) == len(work.payloads) == 64


def test_a_tally_without_an_answer_says_why():
    with pytest.raises(RuntimeError, match="all refused"):
        Tally(refused=[1.0]).report(1)
    with pytest.raises(RuntimeError, match="INTERNAL"):
        Tally(failed=["INTERNAL: no"]).report(1)


def test_the_server_benchmark_is_whole_and_can_be_shown(tmp_path, monkeypatch):
    monkeypatch.setattr(serve, "MIXES", {"queries": serve.MIXES["queries"]})
    figures = serve.measure(write_checkpoint(tmp_path, "tiny"), EXTENT)
    closed = figures["closed"]["queries"]
    assert set(closed["over_engine"]) == {"1 x 1", "1 x 2", "32 x 1", "32 x 2"}
    answers = [answer for name in closed["over_engine"] for answer in closed["answers"][name]]
    assert all(answer["calls"] > 0 and not answer["failed"] for answer in answers)
    assert set(figures["open"]["queries"]) == {"1 x 0.5", "32 x 0.5"}
    shown = serve.show(figures)
    for words in ("32 x 2", "32 x 0.5", "engine's own", "client:"):
        assert words in shown
