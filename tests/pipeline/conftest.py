"""Fixtures of the pipeline's tests."""

import pytest
from core_builders import HandRunner
from manual_devices import ONE_ITEM
from running_pipeline import Running


@pytest.fixture
def hands():
    return [HandRunner() for _ in range(3)]


@pytest.fixture
def running(nursery, hands):
    return Running(nursery, devices=hands, limits=ONE_ITEM)
