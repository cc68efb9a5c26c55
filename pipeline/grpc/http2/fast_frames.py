"""h2's buffer of what has been read, with short forms of the most frequent frames.

Internals touched (h2 is pinned exactly): ``FrameBuffer._data``, ``_headers_buffer``.
"""

from typing import Final

from attrs import frozen
from h2.frame_buffer import FrameBuffer
from hyperframe.frame import DataFrame, Frame, HeadersFrame, WindowUpdateFrame

HEADERS: Final = 0x1
WINDOW_UPDATE: Final = 0x8
END_STREAM: Final = 0x1
END_HEADERS: Final = 0x4
FRAME_HEAD_BYTES: Final = 9
UPDATE_HEAD: Final = b"\0\0\x04\x08\0"  # its length, its type, no flags
UPDATE_BYTES: Final = FRAME_HEAD_BYTES + 4
LOW_31_BITS: Final = 0x7FFFFFFF


@frozen
class PlainFrame:
    """HEADERS that are whole, or DATA; without padding or priority."""

    is_headers: bool
    ends_stream: bool
    stream_id: int
    body: bytes

    def as_h2(self) -> HeadersFrame | DataFrame:
        """The same as a frame of h2."""
        flags = ["END_STREAM"] if self.ends_stream else []
        if self.is_headers:
            return HeadersFrame(self.stream_id, self.body, flags=["END_HEADERS", *flags])
        return DataFrame(self.stream_id, self.body, flags=flags)


@frozen
class PlainUpdate:
    """WINDOW_UPDATE, of a stream or (0) of the connection; ``increment`` is not 0."""

    stream_id: int
    increment: int

    def as_h2(self) -> WindowUpdateFrame:
        """The same as a frame of h2."""
        return WindowUpdateFrame(self.stream_id, self.increment)


class FastFrameBuffer(FrameBuffer):
    """h2's buffer of what has been read, in frames; the plain ones in their short form."""

    def __next__(self) -> Frame | PlainFrame | PlainUpdate:  # type: ignore[override]
        data = self._data
        if len(data) < FRAME_HEAD_BYTES or self._headers_buffer:
            return self._next_other()
        if data[3] == WINDOW_UPDATE:
            return self._next_update()
        is_headers, flags = data[3] == HEADERS, data[4]
        ends_stream = bool(flags & END_STREAM)
        plain = flags & ~END_STREAM == (END_HEADERS if is_headers else 0)
        if not plain or data[3] > HEADERS:
            return self._next_other()
        end = FRAME_HEAD_BYTES + (data[0] << 16 | data[1] << 8 | data[2])
        stream_id = int.from_bytes(data[5:FRAME_HEAD_BYTES]) & LOW_31_BITS
        if len(data) < end or end > FRAME_HEAD_BYTES + self.max_frame_size or not stream_id:
            return self._next_other()
        body = bytes(data[FRAME_HEAD_BYTES:end])
        del data[:end]
        return PlainFrame(is_headers, ends_stream, stream_id, body)

    def _next_update(self) -> Frame | PlainUpdate:
        data = self._data
        increment = int.from_bytes(data[FRAME_HEAD_BYTES:UPDATE_BYTES])
        legal = len(data) >= UPDATE_BYTES and 0 < increment <= LOW_31_BITS
        if not legal or not data.startswith(UPDATE_HEAD):
            return self._next_other()
        stream_id = int.from_bytes(data[5:FRAME_HEAD_BYTES]) & LOW_31_BITS
        del data[:UPDATE_BYTES]
        return PlainUpdate(stream_id, increment)

    def _next_other(self) -> Frame:
        return super().__next__()
