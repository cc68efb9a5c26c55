"""Metrics, and requests that walk before their eyes."""

import pytest
from journeys import Journey

from pipeline.observability.metrics import Metrics


@pytest.fixture
def metrics():
    return Metrics()


@pytest.fixture
def journey(metrics):
    return Journey(metrics)
