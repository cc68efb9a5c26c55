"""Charts are well-formed pictures, whatever numbers they are given."""

from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulations.report.chart import HEIGHT, WIDTH, Chart, nice, short

VALUES = st.floats(0.0, 1e12)
HELD = st.none() | VALUES


def parsed(chart):
    return ET.fromstring(chart.as_svg())  # noqa: S314 (our own)


@given(st.lists(st.tuples(VALUES, HELD, HELD)), st.booleans())
def test_all_that_is_drawn_lies_within_the_picture(rows, stacked):
    x_s = sorted(row[0] for row in rows)
    series = {"<a>": [row[1] for row in rows], "b": [row[2] for row in rows]}
    picture = parsed(Chart("x & y", x_s, series, stacked=stacked))
    for shape in picture.iter():
        for point in shape.get("points", "").split():
            x, y = map(float, point.split(","))
            assert 0 <= x <= WIDTH
            assert 0 <= y <= HEIGHT


def test_stacked_layers_lie_on_each_other():
    chart = Chart("x", [0.0, 1.0], {"a": [1.0, 1.0], "b": [1.0, 1.0]}, stacked=True)
    first, second = parsed(chart).iter("polygon")
    (_, low), *_ = [point.split(",") for point in first.get("points").split()]
    *_, (_, back) = [point.split(",") for point in second.get("points").split()]
    assert low == back


def test_a_line_has_a_gap_where_nothing_is_known():
    """And a dot where something is known between two gaps."""
    values = [1.0, 2.0, None, None, 3.0, None]
    lines = list(parsed(Chart("x", [0.0, 1.0, 2.0, 3.0, 4.0, 5.0], {"": values})).iter("polyline"))
    points = [line.get("points").split() for line in lines]
    assert [len(set(each)) for each in points] == [2, 1]
    assert points[1][0] == points[1][1]


@given(st.floats(1e-6, 1e15))
def test_the_end_of_an_axis_is_a_round_number_not_far_above(value):
    assert value <= nice(value) * (1 + 1e-9)
    assert nice(value) <= 2.001 * value


@pytest.mark.parametrize(("value", "text"), [(0, "0"), (1500, "1.5k"), (2e6, "2M"), (0.25, "0.25")])
def test_numbers_on_an_axis_are_short(value, text):
    assert short(value) == text
