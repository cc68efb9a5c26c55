"""What is sent of each kind of metric."""

from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from pipeline.observability.cloudwatch import data_of


@pytest.fixture
def registry():
    return CollectorRegistry()


def ship(registry, shipped):
    """The entries by name and labels; ``shipped`` is brought up to date."""
    data = list(data_of(registry.collect(), shipped))
    for datum in data:
        shipped.update(datum.totals)
    return {
        (d.entry["MetricName"], *(x["Value"] for x in d.entry["Dimensions"])): d.entry for d in data
    }


def test_counters_are_shipped_as_what_they_grew_by(registry):
    counter, shipped = Counter("requests", "text", ["code"], registry=registry), {}
    counter.labels("ok").inc(5)
    counter.labels("internal")
    assert ship(registry, shipped) == {
        ("requests_total", "ok"): {
            "MetricName": "requests_total",
            "Dimensions": [{"Name": "code", "Value": "ok"}],
            "Unit": "Count",
            "Value": 5.0,
        }
    }
    assert ship(registry, shipped) == {}
    counter.labels("ok").inc(2)
    assert ship(registry, shipped)["requests_total", "ok"]["Value"] == 2.0


def test_gauges_are_shipped_as_they_are_unless_not_finite(registry):
    depth, shipped = Gauge("queued_tokens", "text", registry=registry), {}
    Gauge("strange", "text", registry=registry).set(float("nan"))
    for value in (0.0, 0.0, 7.0):
        depth.set(value)
        assert [e["Value"] for e in ship(registry, shipped).values()] == [value]


def test_histograms_are_shipped_as_what_their_buckets_grew_by(registry):
    histogram = Histogram("took_seconds", "text", ["stage"], buckets=(1, 5), registry=registry)
    shipped = {}
    for value in (0.5, 0.6, 3.0, 99.0):
        histogram.labels("a").observe(value)
    histogram.labels("b").observe(4.0)
    first = ship(registry, shipped)
    assert first["took_seconds", "a"]["Values"] == [1.0, 5.0, 5.0]
    assert first["took_seconds", "a"]["Counts"] == [2.0, 1.0, 1.0]
    assert first["took_seconds", "a"]["Unit"] == "Seconds"
    assert first["took_seconds", "b"]["Counts"] == [1.0]
    assert ship(registry, shipped) == {}
    histogram.labels("a").observe(3.0)
    second = ship(registry, shipped)
    assert list(second) == [("took_seconds", "a")]
    assert (second["took_seconds", "a"]["Values"], second["took_seconds", "a"]["Counts"]) == (
        [5.0],
        [1.0],
    )


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("rate_tokens_per_second", "Count/Second"),
        ("resident_memory_bytes", "Bytes"),
        ("fill_ratio", "None"),
        ("uptime_seconds", "Seconds"),
        ("open_requests", "Count"),
    ],
)
def test_units_come_from_names(registry, name, unit):
    Gauge(name, "text", registry=registry)
    assert [e["Unit"] for e in ship(registry, {}).values()] == [unit]


@given(st.lists(st.lists(st.floats(0, 10), max_size=5), max_size=6))
def test_what_is_shipped_in_all_is_what_was_counted(rounds):
    registry, shipped, sent = CollectorRegistry(), {}, defaultdict(float)
    histogram = Histogram("h", "text", buckets=(1, 2, 4, 8), registry=registry)
    counter = Counter("c", "text", registry=registry)
    for values in rounds:
        for value in values:
            histogram.observe(value)
            counter.inc()
        for (name, *_), entry in ship(registry, shipped).items():
            sent[name] += sum(entry["Counts"]) if "Counts" in entry else entry["Value"]
    total = sum(map(len, rounds))
    assert (sent["h"], sent["c_total"]) == (total, total)
