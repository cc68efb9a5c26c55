"""A request that is like one just refused is refused without being asked about."""

from math import inf

import pytest
from attrs import evolve

from pipeline.overload.refusal_cache import LONGEST_S, REMEMBERED, RefusalCache, Request
from stages.errors import InvalidInput, NotServing, Overloaded, TooLate

FULL = Overloaded("full", reason="drain_time", retry_after_s=0.04)
LATE = TooLate("late", retry_after_s=0.04)
ASKED = Request(("me", "/Embed"), 1000, 1.0)


@pytest.fixture
def recent():
    return RefusalCache()


@pytest.mark.parametrize("error", [FULL, LATE])
def test_the_same_is_refused_until_there_is_room(recent, error):
    recent.note(ASKED, error, 10.0)
    again = recent.refusal(ASKED, 10.01)
    assert (type(again), again.message) == (type(error), error.message)
    assert again.retry_after_s == pytest.approx(0.03)
    assert recent.refusal(ASKED, 10.04) is None


def test_who_has_been_refused_is_known_for_as_long(recent):
    recent.note(ASKED, FULL, 10.0)
    assert recent.knows(("me", "/Embed"), 10.01)
    assert not recent.knows(("you", "/Embed"), 10.01)
    assert not recent.knows(("me", "/Embed"), 10.04)


def test_a_refusal_speaks_for_a_moment_only(recent):
    recent.note(ASKED, Overloaded("full", reason="queued_tokens", retry_after_s=2.0), 10.0)
    assert recent.refusal(ASKED, 10.0 + 0.9 * LONGEST_S).retry_after_s > 1.9
    assert recent.refusal(ASKED, 10.0 + LONGEST_S) is None


@pytest.mark.parametrize(
    ("change", "speaks"),
    [
        ({"size": 2000}, True),
        ({"size": 900}, True),
        ({"size": 700}, False),
        ({"caller": ("you", "/Embed")}, False),
        ({"caller": ("me", "/Tokenize")}, False),
    ],
)
def test_it_speaks_for_the_callers_own_requests_of_that_size(recent, change, speaks):
    recent.note(ASKED, FULL, 10.0)
    assert (recent.refusal(evolve(ASKED, **change), 10.01) is not None) == speaks


@pytest.mark.parametrize(
    ("time_left_s", "late", "full"),
    [(1.0, True, True), (1.02, True, True), (1.04, False, True), (inf, False, True),
     (0.95, True, True), (0.5, False, True)],
)  # fmt: skip
def test_what_came_too_late_speaks_for_those_with_as_much_time(time_left_s, late, full):
    for error, speaks in ((LATE, late), (FULL, full)):
        recent = RefusalCache()
        recent.note(ASKED, error, 10.0)
        given = evolve(ASKED, time_left_s=time_left_s)
        assert (recent.refusal(given, 10.01) is not None) == speaks


@pytest.mark.parametrize(
    "error",
    [
        InvalidInput("no items"),
        NotServing("restarted"),
        Overloaded("by chance", reason="latency", retry_after_s=1.0),
        Overloaded("full", reason="bridge", retry_after_s=1.0),
    ],
)
def test_what_has_other_reasons_speaks_for_nobody(recent, error):
    recent.note(ASKED, error, 10.0)
    assert recent.refusal(ASKED, 10.0) is None


def test_any_number_of_callers_take_little_memory(recent):
    for number in range(3 * REMEMBERED):
        recent.note(evolve(ASKED, caller=(str(number), "/Embed")), FULL, 10.0)
    assert len(recent._last) <= REMEMBERED
    assert recent.refusal(evolve(ASKED, caller=(str(3 * REMEMBERED - 1), "/Embed")), 10.0)
