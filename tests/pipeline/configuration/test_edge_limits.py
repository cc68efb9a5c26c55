"""What the settings say of connections is what the edge holds them to."""

import attrs
import pytest

from pipeline.configuration.caller_limits import SPARE_STREAMS, edge_limits
from pipeline.grpc.limits import EdgeLimits
from pipeline.settings.table import Settings


def test_the_defaults_are_the_edges_own():
    assert edge_limits(Settings()) == EdgeLimits()


def test_streams_follow_the_calls_unless_they_are_set():
    settings = Settings(max_concurrent_requests=10)
    assert edge_limits(settings).max_streams == 10 + SPARE_STREAMS
    assert edge_limits(attrs.evolve(settings, max_streams_per_connection=3)).max_streams == 3


@pytest.mark.parametrize(
    "name", [field.name for field in attrs.fields(EdgeLimits) if field.name != "max_streams"]
)
def test_each_limit_has_its_setting(name):
    changed = attrs.evolve(Settings(), **{name: 7})
    assert getattr(edge_limits(changed), name) == 7
