"""What a server's gRPC port has in hand, for benchmarks that look for leaks.

In the server's process :func:`answer_signals` prints a line of JSON at each SIGUSR1.
"""

import json
import signal
from pathlib import Path
from types import FrameType
from typing import Any, TypeAlias

from pipeline.grpc import server
from pipeline.grpc.http2.server_connection import WINDOW_BYTES
from pipeline.grpc.listener import Listener

EdgeState: TypeAlias = dict[str, int]


_listeners: list[Listener] = []


class _KnownListener(Listener):
    """A listener that can be found again."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        _listeners.append(self)


def edge_state() -> EdgeState:
    """Connections, streams as h2 and as the edge know them, tasks, window bytes, descriptors.

    ``window_lost`` is the most that a connection's window is short of, in bytes; h2
    gives it back in steps of up to half.
    """
    # There is no public way to look.
    connections: tuple[Any, ...] = tuple(_listeners[-1]._connections)  # noqa: SLF001
    return {
        "connections": len(connections),
        "h2_streams": sum(
            len([stream for stream in tuple(each.h2.streams.values()) if not stream.closed])
            for each in connections
        ),
        "streams": sum(len(each.processor.streams) for each in connections),
        "tasks": sum(len(each.handler._running) for each in connections),  # noqa: SLF001
        "held_bytes": sum(each.handler._memory.taken for each in connections),  # noqa: SLF001
        "in_flight": _listeners[-1]._state.in_flight,  # noqa: SLF001
        "window_lost": max(
            (WINDOW_BYTES - each.h2.inbound_flow_control_window for each in connections),
            default=0,
        ),
        "descriptors": len(list(Path("/proc/self/fd").iterdir())),
    }


def answer_signals() -> None:
    """Print the state at each SIGUSR1, from now on."""

    def answer(_number: int, _frame: FrameType | None) -> None:
        print(json.dumps(edge_state()), flush=True)

    vars(server)["Listener"] = _KnownListener
    signal.signal(signal.SIGUSR1, answer)
