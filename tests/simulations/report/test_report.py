"""The report of a simulation, as a table and as a page."""

import re

import pytest
from attrs import evolve
from scenarios_of import CALLERS, scenario_of

from simulations.report.page import as_page
from simulations.report.table import as_table
from simulations.simulation import simulate


@pytest.fixture(scope="module")
def unanswered():
    """A report of callers none of whom waits for an answer."""
    hasty = evolve(CALLERS, name="hasty", timeout_s=1e-6)
    return simulate(scenario_of(hasty, duration_s=2.0), seed=1)


def test_where_nothing_was_answered_there_is_no_latency(unanswered):
    row = re.search(r"^hasty .*$", as_table(unanswered), re.MULTILINE).group().split()
    assert row[2] == "0.00%"
    assert row[-4:-1] == ["-"] * 3


def test_nor_is_one_drawn(unanswered):
    _, _, after = as_page(unanswered, "").partition("Latency of answers")
    chart, _, _ = after.partition("</svg>")
    assert "<polyline" not in chart
