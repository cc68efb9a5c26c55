"""The pipeline under more than it can do, with a modelled device on a virtual clock."""

import numpy as np
import pytest
from open_loop import TOKENS_PER_S, Callers, overload

from stages.lane import Lane

SECONDS = 30.0
PEAK = TOKENS_PER_S * SECONDS


@pytest.mark.parametrize("load", [1.5, 3.0, 10.0])
@pytest.mark.parametrize("timeout_s", [1.0, 30.0])
def test_more_than_it_can_do_does_not_lower_what_it_does(load, timeout_s):
    (tally,) = overload(Callers(load, timeout_s=timeout_s), seconds=SECONDS)
    assert tally.answered >= 0.95 * PEAK
    assert np.percentile(tally.latencies_s, 99) <= timeout_s
    assert np.percentile(tally.refused_after_s, 99) <= 0.02
    assert tally.ran - tally.answered <= 0.01 * tally.ran


def test_a_tenant_at_ten_times_its_share_takes_nothing_from_the_others():
    others = [Callers(0.22, f"tenant {number}", items=8) for number in range(3)]
    hog, *tallies = overload(Callers(2.5, "hog", items=8), *others, seconds=2 * SECONDS)
    goodputs = [tally.goodput for tally in tallies]
    assert min(goodputs) >= 0.95
    assert sum(goodputs) ** 2 / (len(goodputs) * sum(g * g for g in goodputs)) >= 0.95  # Jain
    assert hog.answered + sum(tally.answered for tally in tallies) >= 0.95 * 2 * PEAK


def test_bulk_is_shed_first_and_fills_what_others_leave():
    bulk, interactive = overload(Callers(2.0, lane=Lane.BULK), Callers(0.5), seconds=SECONDS)
    assert interactive.goodput >= 0.99
    assert bulk.answered + interactive.answered >= 0.95 * PEAK
    assert np.median(interactive.latencies_s) < np.median(bulk.latencies_s) / 2


def test_short_deadlines_are_kept_beside_callers_with_patience():
    patient, hurried = overload(Callers(0.6), Callers(0.2, timeout_s=1.0), seconds=SECONDS)
    assert hurried.goodput >= 0.9
    assert patient.goodput >= 0.99


def test_the_same_seed_gives_the_same_run():
    first, second = (overload(Callers(3.0, timeout_s=1.0), seconds=5.0) for _ in range(2))
    assert first == second
