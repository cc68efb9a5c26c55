"""The messages of one call as they come from its client.

A message is measured by its prefix before anything of it is buffered. Compression,
broken protobuf and a message that ends early each have their status.
"""

from typing import Any, Final

from google.protobuf.message import DecodeError, Message

from pipeline.grpc.call_memory import CallMemory
from pipeline.grpc.errors import Unimplemented
from pipeline.grpc.framing import PREFIX
from pipeline.grpc.http2.stream import EdgeStream
from stages.errors import InvalidInput, TooLarge

SMALL_BYTES: Final = 1 << 16  # a message that is not complete counts from here on


class Incoming:
    """What is read from ``stream``: messages of the type ``kind``, each at most ``max_bytes``.

    ``within``: the prefix of a message has come, but not yet the rest. ``stopped``: nothing
    more is read, although the client had not sent everything.
    """

    def __init__(
        self, stream: EdgeStream, kind: type[Message], memory: CallMemory, max_bytes: int
    ) -> None:
        self.within = False
        self.stopped = False
        self._stream = stream
        self._kind = kind
        self._memory = memory
        self._max_bytes = max_bytes

    async def arrival(self) -> None:
        """Wait until there is something to read, or nothing more to come."""
        await self._stream.buffer.arrival()

    async def some(self, at_most: int) -> list[bytes]:
        """The next message and those that have come with it, still encoded; none after the last.

        Raises:
            InvalidInput: the stream ended within a message.
            TooLarge: its prefix announces more than the limit; nothing is buffered.
            Unimplemented: it is compressed.
        """
        first = self._here()
        if first is None and (first := await self._next()) is None:
            return []
        found = [first]
        while len(found) < at_most and (another := self._here()) is not None:
            found.append(another)
        return found

    def _here(self) -> bytes | None:
        """The next message if all of it has come, as is usual, and it is not a large one."""
        body = self._stream.buffer
        prefix = body.peek(PREFIX.size)
        if prefix is None or (size := self._size_in(prefix)) > SMALL_BYTES:
            return None
        whole = body.peek(PREFIX.size + size)
        if whole is None:
            return None
        body.skip(len(whole))
        return whole[PREFIX.size :]

    def decode(self, data: bytes) -> Any:
        """Decode a message from :meth:`some`.

        Raises:
            InvalidInput: it is not of this type.
        """
        try:
            return self._kind.FromString(data)
        except DecodeError:
            name = self._kind.DESCRIPTOR.full_name
            raise InvalidInput(f"the message is not a valid {name}") from None

    def stop(self) -> None:
        """Read no more than what has come so far: the server is shutting down."""
        self.stopped = self._stream.buffer.stop()

    async def _next(self) -> bytes | None:
        prefix = await self._stream.recv_data(PREFIX.size)
        if not prefix:
            return None
        if len(prefix) == PREFIX.size:
            size = self._size_in(prefix)
            self.within = True
            receive = self._stream.recv_data if size <= SMALL_BYTES else self._large
            data = await receive(size)
            self.within = False
            if len(data) == size:
                return data
        if self.stopped:
            return None
        raise InvalidInput("the stream ended in the middle of a message")

    async def _large(self, size: int) -> bytes:
        """``size`` bytes, a whole message; fewer where the stream ends."""
        self._memory.expect(size)
        parts, left = [], size
        while left and (part := await self._stream.recv_data(min(left, SMALL_BYTES))):
            self._memory.came(len(part))
            parts.append(part)
            left -= len(part)
        if not left:
            self._memory.let_go(size)  # whoever takes it holds it
        return b"".join(parts)

    def _size_in(self, prefix: bytes) -> int:
        compressed, size = PREFIX.unpack(prefix)
        if compressed:
            raise Unimplemented("messages must not be compressed (grpc-encoding: identity)")
        if size > self._max_bytes:
            raise TooLarge(f"the message has {size} bytes; at most {self._max_bytes} are allowed")
        return int(size)
