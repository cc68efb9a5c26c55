"""What viewers of the live page cost: the order of the windows, and what two of them say."""

import math

import pytest

from benchmarks.engine.shapes import write_checkpoint
from benchmarks.harness.measure import estimate
from benchmarks.live_page.__main__ import Account, Window, Windows, order, run, show


def test_windows_with_and_without_viewers_meet_a_drift_alike():
    assert list(order(4)) == [False, True, True, False, False, True, True, False]


def test_a_window_is_what_was_done_a_second():
    start, end = Account(10.0, 1000.0, 1.0, 2.0), Account(12.0, 5000.0, 1.1, 2.4)
    assert Window.between(start, end) == Window(
        pytest.approx(2000.0), pytest.approx(0.05), pytest.approx(0.2)
    )


def test_differences_are_shares_of_the_throughput_and_of_the_machine():
    nobody = [Window(1000.0, 0.05, 0.10), Window(3000.0, 0.05, 0.10)]
    viewers = [Window(980.0, 0.06, 0.12), Window(2980.0, 0.06, 0.14)]
    sent = [{"seconds": 4.0, "frames": 4.0, "bytes": 8000.0}]
    windows = Windows(nobody, viewers, sent)
    figures = windows.figures(cores=2)
    assert figures["throughput"].mean == pytest.approx(-0.01)
    assert figures["throughput"].standard_error == pytest.approx(0.0)
    assert figures["Trio's thread"].mean == pytest.approx(0.005)
    assert figures["all beside the device"].mean == pytest.approx(0.015)
    shown = show(windows, 10, cores=2)
    assert "throughput: -1.00% ± 0.00%" in shown
    assert "10 viewers was sent 1.00 frames a second, 2.0 kB" in shown


def test_an_estimate_says_how_sure_it_is():
    found = estimate([1.0, 2.0, 6.0])
    assert (found.mean, found.median) == (3.0, 2.0)
    assert found.standard_error == pytest.approx(math.sqrt(7.0 / 3.0))
    assert estimate([1.0]).standard_error == math.inf


def test_the_benchmark_is_whole(tmp_path):
    windows = run(write_checkpoint(tmp_path, "tiny"), pairs=2, seconds=1.2, number=3)
    assert len(windows.nobody) == len(windows.viewers) == 2
    assert all(window.tokens > 0 for window in windows.nobody + windows.viewers)
    assert windows.sent_a_second("frames") > 0
    assert windows.sent_a_second("bytes") > 100
