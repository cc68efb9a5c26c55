"""Healthy, degraded or overloaded, with hysteresis."""

from hypothesis import given
from hypothesis import strategies as st

from pipeline.interface.health_level import ENTER_OVERLOADED, LEAVE_DEGRADED, HealthLevel


def levels(*pressures):
    level = HealthLevel()
    return [level.judge(pressure, refuses=False) for pressure in pressures]


def test_a_level_is_left_below_where_it_is_entered():
    assert levels(0.8, 0.81, 0.7, 0.61, 0.6) == [
        "healthy",
        "degraded",
        "degraded",
        "degraded",
        "healthy",
    ]
    assert levels(0.99, 1.0, 0.9, 0.81, 0.79, 0.9, 0.5) == [
        "degraded",
        "overloaded",
        "overloaded",
        "overloaded",
        "degraded",
        "degraded",
        "healthy",
    ]


def test_whoever_refuses_whatever_comes_is_overloaded():
    assert HealthLevel().judge(0.0, refuses=True) == "overloaded"


@given(st.lists(st.floats(0.0, 2.0)))
def test_beyond_the_thresholds_the_past_does_not_count(pressures):
    for pressure, level in zip(pressures, levels(*pressures), strict=True):
        if pressure >= ENTER_OVERLOADED:
            assert level == "overloaded"
        if pressure <= LEAVE_DEGRADED:
            assert level == "healthy"
