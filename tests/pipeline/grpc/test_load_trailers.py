"""What a call that went well ends with: the load, where it is to be told.

grpcio reads the trailer itself and shows it to nobody, so the client is a raw one.
"""

from base64 import b64decode

import pytest
from attrs import evolve
from edge_fakes import FakeBoard, running_edge
from penstock.v1.embedding_pb2 import EmbedRequest
from raw_client import EMBED, framed, raw_client

from pipeline.overload.load_report import TRAILER, LoadReport

STREAM = "/penstock.v1.EmbeddingService/EmbedStream"
REQUEST = framed(EmbedRequest(texts=["a"]))
REPORTS = (LoadReport(0.5, 10.0, 1.0), LoadReport(1.5, 20.0, 0.0))


def told(client, path):
    """What a call ends with, or None."""
    stream = client.open(path, REQUEST)
    assert client.result(stream) == 0
    value = client.responses[stream].get(TRAILER.encode())
    return None if value is None else b64decode(value + b"=" * (-len(value) % 4))


@pytest.mark.parametrize("path", [EMBED, STREAM])
def test_each_answer_tells_the_newest_load(path):
    board = FakeBoard()
    with running_edge(board=board, load_reports=True) as edge, raw_client(edge.port) as client:
        for report in REPORTS:
            board.snapshot = evolve(board.snapshot, report=report)
            assert told(client, path) == report.encoded()


@pytest.mark.parametrize("path", [EMBED, STREAM])
def test_unless_it_is_asked_for_nothing_is_told(path):
    board = FakeBoard()
    board.snapshot = evolve(board.snapshot, report=REPORTS[0])
    with running_edge(board=board) as edge, raw_client(edge.port) as client:
        assert told(client, path) is None
