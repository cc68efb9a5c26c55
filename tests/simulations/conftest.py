"""What servers log of injected faults is no news here."""

import pytest
import structlog

from simulations.commands import silence


@pytest.fixture(autouse=True)
def quiet():
    silence()
    yield
    structlog.reset_defaults()
