"""Fixtures of the HTTP tests."""

import pytest
from http_fakes import running_http


@pytest.fixture
async def http():
    async with running_http() as running:
        yield running
