"""The engine benchmark on a tiny random model: it measures the same work by all contenders."""

import numpy as np
import pytest
import torch

from benchmarks.engine import figures as engine
from benchmarks.engine import roofline
from benchmarks.engine.__main__ import show
from benchmarks.engine.alone import EngineAlone
from benchmarks.engine.plain import PlainTransformers, sorted_batches
from benchmarks.engine.shapes import write_checkpoint
from benchmarks.harness.child import running_child
from benchmarks.load.mixes import MIXES, fixed, lengths, token_ids
from stages.messages.batch import Layout


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_checkpoint(tmp_path_factory.mktemp("model"), "tiny")


def test_all_contenders_give_the_same_vectors(folder):
    texts = token_ids(lengths(MIXES["documents"], 2500), 2000)
    plain = PlainTransformers.load(folder, torch.device("cpu"), torch.float32)
    expected = plain.in_arrival_order(texts)
    others = [EngineAlone.load(folder, layout).embed for layout in Layout]
    for embed in (plain.sorted_by_length, *others):
        assert np.abs(embed(texts) - expected).max() < 1e-5


@pytest.mark.parametrize("layout", Layout)
def test_the_planner_runs_every_text_once(folder, layout):
    texts = token_ids(lengths(fixed(9), 9 * 700), 2000)
    batches = list(EngineAlone.load(folder, layout).batches(texts))
    positions = [chunk.positions for batch in batches for chunk in batch.chunks]
    assert sorted(np.concatenate(positions).tolist()) == list(range(700))


def test_what_is_in_flight_is_finished_when_a_run_is_left_early(folder, monkeypatch):
    class Pending:
        def finish(self):
            finished.append(self)

    finished, started = [], []
    alone = EngineAlone.load(folder, Layout.PACKED)
    monkeypatch.setattr(alone.device, "start", lambda _: started.append(Pending()) or started[-1])
    outputs = alone.run([None] * 9)
    next(outputs)
    outputs.close()
    assert len(started) == 2
    assert finished == started


def test_sorted_batches_hold_their_padded_tokens():
    sizes = [500, 3, 300, 4097, 300]
    batches = [rows.tolist() for rows in sorted_batches(sizes)]
    assert batches[0] == [3]  # a text above the bound runs alone
    assert sorted(row for batch in batches for row in batch) == [0, 1, 2, 3, 4]


def test_the_figures_are_whole_and_can_be_shown(folder, monkeypatch):
    monkeypatch.setattr(roofline, "SQUARE", {"cpu": 64})
    monkeypatch.setattr(roofline, "PEAK_SLICE_S", 0.0)
    with running_child("benchmarks.engine.plain_process", str(folder), "--threads", "1") as plain:
        figures = engine.measure(
            folder, plain, tokens=300, rounds=2, mixes={"short": fixed(10)}, half=True
        )
    short = figures["mixes"]["short"]
    assert (short["texts"], short["tokens"]) == (30, 300)
    assert all(len(rates) == 2 for rates in short["rates"].values())
    shown = show(figures)
    assert 0.99 < short["bfloat16_cosine"]["least"] < 1.0
    assert short["bfloat16_over_transformers"] > 0
    assert engine.SORTED_HALF in short["rates"]
    for name in (*short["rates"], "packed / bucketed", "share of it", "cosine to float32"):
        assert name in shown


def test_ratios_and_shares_follow_from_the_rates():
    rates = {engine.PACKED: [30.0, 60.0], engine.SORTED: [20.0, 30.0], engine.PEAK: [300.0, 600.0]}
    compared = engine.compared(rates, flops_per_token=5.0)
    assert compared["packed_over"] == {engine.SORTED: 1.75}
    assert compared["share_of_peak"][engine.PACKED] == pytest.approx(0.5)
