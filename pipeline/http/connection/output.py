"""The output of a connection; an answer's head leaves with the first part of its body."""

from typing import Final, TypeAlias

import trio

ANSWER_HEAD: Final = b"HTTP/1.1 "
INTERIM: Final = b"1"  # the first digit of a status that another one follows
GONE: Final = (OSError, trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError)

Stream: TypeAlias = trio.SocketStream | trio.SSLStream[trio.SocketStream]


class Output:
    """Writes to ``stream``, for its reader too, which sends interim answers and errors."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._writing = trio.Lock()
        self._head = b""  # of an answer, until its first part

    async def write(self, data: bytes) -> None:
        """Write ``data``, or keep it for now if it is an answer's head.

        Raises one of ``GONE`` if the client does not take it. The stream is closed then, so
        that its reader ends too.
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
            self._writing.acquire_nowait()  # no checkpoint
        try:
            await self._stream.send_all(data)
        except GONE:
            await trio.aclose_forcefully(self._stream)
            raise
        finally:
            self._writing.release()
