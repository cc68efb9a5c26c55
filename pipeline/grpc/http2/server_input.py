"""Input frames and header blocks, held to the RFCs more strictly than by h2.

What is mended, and the internals that each mend touches (h2 and hpack are pinned exactly):

- *Floods*: every frame that does not take the fast path is counted, CONTINUATION too.
  (``FrameBuffer._update_header_buffer``)
- *Header blocks without end*: their fragments are bounded by what they may decode to.
  (``FrameBuffer._headers_buffer``)
- *SETTINGS with ACK and a payload* are a FRAME_SIZE_ERROR (RFC 9113, 6.5); h2 says
  PROTOCOL_ERROR.
- *Blocks that cannot be decoded* are a COMPRESSION_ERROR (4.3); h2 says PROTOCOL_ERROR.
  (``Decoder.decode``)
"""

from collections.abc import Iterable
from typing import Final

from h2.errors import ErrorCodes
from h2.exceptions import FrameDataMissingError, ProtocolError
from hpack.exceptions import HPACKError, OversizedHeaderListError
from hpack.struct import HeaderTuple
from hyperframe.frame import Frame

from pipeline.grpc.http2.fast_frames import FRAME_HEAD_BYTES, FastFrameBuffer, PlainUpdate
from pipeline.grpc.http2.flood_meter import Flood, FloodMeter
from pipeline.grpc.http2.header_cache import CachingDecoder

SETTINGS: Final = 0x4
ACK: Final = 0x1


class CompressionError(ProtocolError):
    """A header block that cannot be decoded; the connection's table is lost with it."""

    error_code = ErrorCodes.COMPRESSION_ERROR


class ServerDecoder(CachingDecoder):
    """The decoder of one connection; a header list has ``max_bytes`` at most."""

    def __init__(self, max_bytes: int) -> None:
        super().__init__()
        self.max_header_list_size = max_bytes

    def decode(self, data: bytes, raw: bool = False) -> Iterable[HeaderTuple]:
        """See :meth:`CachingDecoder.decode`."""
        try:
            return super().decode(data, raw)
        except OversizedHeaderListError:
            raise
        except (HPACKError, IndexError, TypeError) as error:
            raise CompressionError("a header block cannot be decoded") from error


class MeteredFrames(FastFrameBuffer):
    """The frames that have been read; those that are not plain are counted.

    A header block has ``max_block_bytes`` at most.
    """

    def __init__(self, meter: FloodMeter, max_block_bytes: int) -> None:
        super().__init__(server=True)
        self._meter = meter
        self._max_block_bytes = max_block_bytes

    @property
    def has_part(self) -> bool:
        """Whether part of a frame or of a header block has come."""
        return bool(self._data or self._headers_buffer)

    def _next_update(self) -> Frame | PlainUpdate:
        frame = super()._next_update()
        if isinstance(frame, PlainUpdate):
            self._meter.window_update()
        return frame

    def _next_other(self) -> Frame:
        head = self._data[:FRAME_HEAD_BYTES]
        is_ack = len(head) == FRAME_HEAD_BYTES and head[3] == SETTINGS and head[4] & ACK
        if is_ack and any(head[:3]):
            raise FrameDataMissingError("SETTINGS with ACK must be empty")
        return super()._next_other()

    def _update_header_buffer(self, f: Frame | None) -> Frame | None:
        self._meter.note(f)
        whole = super()._update_header_buffer(f)
        if self._headers_buffer:
            size = sum(len(fragment.data) for fragment in self._headers_buffer)
            if size > self._max_block_bytes:
                raise Flood("a header block without end")
        return whole
