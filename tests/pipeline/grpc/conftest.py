"""Fixtures of the edge's tests."""

import grpc
import pytest
from edge_fakes import running_edge
from stream_talk import LONG_S, Talk


@pytest.fixture
def talking():
    """Starts edges with one stream each."""
    opened = []

    def start(frontend=None, board=None, timeout=LONG_S, **options):
        manager = running_edge(frontend, board, **options)
        edge = manager.__enter__()
        channel = grpc.insecure_channel(edge.target)
        talk = Talk(channel, timeout)
        opened.append((manager, channel, talk))
        return edge, talk

    yield start
    for manager, channel, talk in reversed(opened):
        talk.call.cancel()
        talk.done()
        channel.close()
        manager.__exit__(None, None, None)
