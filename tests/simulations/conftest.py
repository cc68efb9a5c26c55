"""What servers log of injected faults is no news here."""

import pytest
import structlog

from simulations.checks.checkers import Violations
from simulations.commands import silence
from stages.requests.open_tickets import OpenTickets


@pytest.fixture(autouse=True)
def quiet():
    silence()
    yield
    structlog.reset_defaults()


@pytest.fixture
def violations():
    return Violations()


@pytest.fixture
def tickets():
    return OpenTickets()
