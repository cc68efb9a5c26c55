"""The gRPC edge without sockets, threads or a clock: bytes in, bytes out, in one loop."""

import asyncio
from typing import Any

from attrs import define, field
from frame_client import (
    END_STREAM,
    GOAWAY,
    HEADERS,
    PING,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    frame,
    received,
)
from frontend_fakes import FakeBoard, FakeFrontend, answer_by_output
from h2.errors import ErrorCodes
from hpack import Decoder

from pipeline.grpc.http2.protocol import EdgeProtocol
from pipeline.grpc.server import GrpcServer

INTERNAL = 13
TURNS = 200  # of the loop; a call needs about ten


class Wire(asyncio.Transport):
    """Where the edge writes."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.closed = False

    def write(self, data: Any) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return self.closed

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        pass

    def pause_reading(self) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return 0

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = True


class SoonToken:
    """Stands in for Trio's: what is to run there runs in the same loop."""

    def run_sync_soon(self, function, *arguments) -> None:
        asyncio.get_running_loop().call_soon(function, *arguments)


@define(eq=False)
class Heard:
    """What the edge has said."""

    status: dict[int, int | None] = field(factory=dict)  # of streams that have ended, or been reset
    goaway: int | None = None
    pongs: int = 0


class EdgeInMemory:
    """Serves each :meth:`exchange` on a connection of its own."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.errors: list[dict[str, Any]] = []
        self.loop.set_exception_handler(lambda _, context: self.errors.append(context))
        server = GrpcServer(FakeFrontend(answer=answer_by_output), FakeBoard())
        self._listener = self.loop.run_until_complete(self._make(server))

    async def _make(self, server: GrpcServer) -> Any:
        return server._make_listener(SoonToken())

    def exchange(self, *reads: bytes) -> Heard:
        """What comes of a connection that says ``reads`` after a proper greeting.

        Raises:
            AssertionError: something was raised that nobody foresaw, or has been left.
        """
        wire, protocol = self.loop.run_until_complete(self._talk(reads))
        assert self.errors == []
        assert protocol.processor.streams == {} or protocol.connection.is_closing()
        found = heard(bytes(wire.written))
        assert found.goaway != ErrorCodes.INTERNAL_ERROR
        assert INTERNAL not in found.status.values()
        return found

    async def _talk(self, reads: tuple[bytes, ...]) -> tuple[Wire, EdgeProtocol]:
        wire, protocol = Wire(), self._listener._connection()
        protocol.connection_made(wire)
        protocol.data_received(PREFACE + frame(SETTINGS))
        for read in reads:
            if wire.closed:
                break
            protocol.data_received(read)
            await self._settle(protocol)
        protocol.look(self.loop.time())
        protocol.connection_lost(None)
        await self._settle(protocol)
        assert protocol.handler._running == {}
        assert self._listener._state.in_flight == 0
        return wire, protocol

    async def _settle(self, protocol: EdgeProtocol) -> None:
        for _ in range(TURNS):
            await asyncio.sleep(0)
            if not protocol.handler._running:
                break

    def close(self) -> None:
        self.loop.close()


def heard(data: bytes) -> Heard:
    """What ``data``, all that a server has written, says."""
    found, said, decoder = Heard(), dict[int, bytes](), Decoder()
    for each in received(data):
        if each.kind == HEADERS:
            fields = dict(decoder.decode(each.payload, raw=True))
            said[each.stream] = fields.get(b"grpc-status", said.get(each.stream, b""))
            if each.flags & END_STREAM:
                status = said[each.stream]
                found.status[each.stream] = int(status) if status else None
        elif each.kind == RST_STREAM:
            found.status.setdefault(each.stream, None)
        elif each.kind == GOAWAY:
            found.goaway = each.code
        elif each.kind == PING:
            found.pongs += 1
    return found
