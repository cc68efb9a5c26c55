"""Edges that speak TEI's services, for tests."""

from contextlib import ExitStack, contextmanager
from types import SimpleNamespace

import grpc
import numpy as np
from attrs import evolve
from edge_fakes import LIMITS, MODEL, FakeBoard, FakeFrontend, answer_to, running_edge
from rpc import method

from stages.data.ragged_rows import RaggedRows
from stages.requests.output import Output

ALL = evolve(MODEL, outputs=(Output.POOLED, Output.TOKENS, Output.SPARSE))
RANKER = evolve(MODEL, outputs=(Output.SCORES,), labels=("LABEL_0",), dimension=1, pooling="")
CLASSIFIER = evolve(RANKER, labels=("bad", "good", "so so"), dimension=3)
LONG_S = 60


def stream(channel, path, request, response):
    return channel.stream_stream(
        f"/tei.v1.{path}",
        request_serializer=request.SerializeToString,
        response_deserializer=response.FromString,
    )


def unary(edge, path, response):
    return method(edge.channel, f"/tei.v1.{path}", response)


@contextmanager
def serving_tei():
    """Starts edges with a channel each."""
    with ExitStack() as stack:

        def start(model=ALL, answer=answer_to, limits=LIMITS, **options):
            frontend = options.pop("frontend", None) or FakeFrontend(answer)
            if "edge_limits" in options:
                options["limits"] = options.pop("edge_limits")
            board = FakeBoard(model=model, limits=limits)
            edge = stack.enter_context(running_edge(frontend, board, **options))
            channel = stack.enter_context(grpc.insecure_channel(edge.target))
            return SimpleNamespace(channel=channel, frontend=edge.frontend, in_trio=edge.in_trio)

        yield start


def ragged_of(*items):
    """An answer of these rows, in another order and with a gap."""
    parts = [np.asarray(item) for item in items[::-1]]
    rows = np.concatenate([parts[0][:0], *(np.concatenate([part, part[:1]]) for part in parts)])
    sizes = [len(part) + 1 for part in parts]
    starts = (np.cumsum(sizes) - sizes)[::-1].astype(np.int32)
    lengths = np.array([len(item) for item in items], np.int32)
    return lambda request: answer_to(request, ragged=RaggedRows(rows, starts, lengths))
