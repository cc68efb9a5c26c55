"""The limit of descriptors grows with the connections, and never above the system's."""

import resource

import pytest

from pipeline.process.file_descriptors import PORTS, SPARE, allow_connections

LIMIT = resource.RLIMIT_NOFILE


@pytest.fixture
def limits(monkeypatch):
    """The process's limit and the system's, of which the process may raise its own."""
    now = [500, 5000]
    monkeypatch.setattr(resource, "getrlimit", lambda _: tuple(now))
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: now.__setitem__(slice(2), limits))
    return now


def test_a_low_limit_is_raised_for_the_connections(limits):
    assert allow_connections(400) == 400
    assert limits == [PORTS * 400 + SPARE, 5000]


def test_a_high_limit_stays(limits):
    allow_connections(1000)
    assert allow_connections(10) == 10
    assert limits[0] == PORTS * 1000 + SPARE


def test_no_limit_is_not_made_one(limits):
    limits[:] = [resource.RLIM_INFINITY] * 2
    assert allow_connections(1 << 19) == 1 << 19
    assert limits == [resource.RLIM_INFINITY] * 2


@pytest.mark.parametrize(("hard", "fit"), [(5000, (5000 - SPARE) // PORTS), (200, 50), (64, 16)])
def test_where_the_system_has_fewer_some_are_kept_for_the_rest(limits, hard, fit):
    limits[:] = [min(60, hard), hard]
    assert allow_connections(100_000) == fit
    assert limits == [hard, hard]


def test_the_real_limit_is_raised():
    before = resource.getrlimit(LIMIT)
    try:
        resource.setrlimit(LIMIT, (500, before[1]))
        assert allow_connections(400) == 400
        assert resource.getrlimit(LIMIT)[0] == PORTS * 400 + SPARE
    finally:
        resource.setrlimit(LIMIT, before)
