"""The limit of descriptors grows with the connections, and never above the system's."""

import resource

import pytest

from pipeline.descriptors import SPARE, allow_connections

LIMIT = resource.RLIMIT_NOFILE


@pytest.fixture
def low():
    """A limit of 500 until the end of the test."""
    before = resource.getrlimit(LIMIT)
    resource.setrlimit(LIMIT, (500, before[1]))
    yield
    resource.setrlimit(LIMIT, before)


def test_a_low_limit_is_raised_for_the_connections(low):
    assert allow_connections(100) == 100 + SPARE
    assert resource.getrlimit(LIMIT)[0] == 100 + SPARE


def test_a_high_limit_stays(low):
    allow_connections(1000)
    assert allow_connections(10) == 1000 + SPARE


def test_the_systems_own_limit_is_the_most(low):
    hard = resource.getrlimit(LIMIT)[1]
    if hard == resource.RLIM_INFINITY:
        assert allow_connections(1 << 19) == (1 << 19) + SPARE
    else:
        assert allow_connections(hard) == hard
