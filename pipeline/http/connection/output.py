"""What goes out on a connection, piece by piece; an answer's head with the first of its body."""

from typing import Final, TypeAlias

import trio

ANSWER_HEAD: Final = b"HTTP/1.1 "
INTERIM: Final = b"1"  # the first digit of a status behind which another one comes
GONE: Final = (OSError, trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError)

Stream: TypeAlias = trio.SocketStream | trio.SSLStream[trio.SocketStream]


class Output:
    """Writes to ``stream``. Who reads a connection writes too: interim answers and errors."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._writing = trio.Lock()
        self._head = b""  # of an answer, until its first part

    async def write(self, data: bytes) -> None:
        """Write ``data``, or keep it where it is an answer's head.

        Raises one of ``GONE`` where nobody takes it. The stream is closed then, by which who
        reads it hears of it.
        """
        if data.startswith(ANSWER_HEAD) and data[len(ANSWER_HEAD) :][:1] != INTERIM:
            self._head = data
            return
        data, self._head = self._head + data, b""
        if not data:
            return
        if self._writing.locked():
            await self._writing.acquire()
        else:
            self._writing.acquire_nowait()  # without a turn of the loop
        try:
            await self._stream.send_all(data)
        except GONE:
            await trio.aclose_forcefully(self._stream)
            raise
        finally:
            self._writing.release()
