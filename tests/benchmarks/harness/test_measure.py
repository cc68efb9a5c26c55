import pytest

from benchmarks.harness.measure import interleaved, ratio


def test_every_contender_runs_once_a_round_and_the_first_to_run_changes():
    calls = []

    def contender(name):
        def run():
            calls.append(name)
            return float(len(calls))

        return run

    rates = interleaved({name: contender(name) for name in "abc"}, rounds=3)
    assert "".join(calls) == "abc" + "abc" + "bca" + "cab"
    assert rates == {"a": [4.0, 9.0, 11.0], "b": [5.0, 7.0, 12.0], "c": [6.0, 8.0, 10.0]}


def test_a_ratio_is_taken_round_by_round():
    slow_minute = 0.1
    assert ratio([2.0, 2.0 * slow_minute, 2.0], [1.0, 1.0 * slow_minute, 4.0]) == pytest.approx(2.0)
