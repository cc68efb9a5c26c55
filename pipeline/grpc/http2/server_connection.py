"""h2's state of one connection, mended where h2 is too strict for a server.

What is mended, and the internals that each mend touches (h2 is pinned exactly):

- *Stream limit.* h2 ends the whole connection at stream 101. Here the limit is an
  argument and announced in the first SETTINGS; streams above it are for
  :class:`~pipeline.grpc.http2.processor.EdgeProcessor` to refuse.
  (``open_inbound_streams``, ``local_settings``)
- *Sweeping.* h2 walks through all streams at each new one; here only when their number
  has doubled, so that 1,000 open streams cost no more than 10. (``_open_streams``)
- *Memory.* h2 remembers how the last 65,536 streams of a connection were closed, in
  10 MB; only frames that were under way then need that. (``MAX_CLOSED_STREAMS``)
- *GOAWAY.* h2 takes no more frames after one, in either direction. Here
  GOAWAY(NO_ERROR) passes its state machine by, so that calls in flight can finish.
  (``_prepare_for_sending``, ``_receive_goaway_frame``)
- *Input* is held to the RFCs: see :mod:`pipeline.grpc.http2.server_input`.
  (``incoming_buffer``, ``decoder``)
- *SETTINGS* come first, as RFC 9113 (3.4) says. (``_receive_frame``)
- *Headers that are not ASCII* do not end the connection: they are read as latin-1,
  which decodes any byte. (``header_cache.ENCODING``)
"""

from typing import Final

from h2.errors import ErrorCodes
from h2.events import ConnectionTerminated, Event
from h2.exceptions import ProtocolError
from h2.settings import ChangedSetting, SettingCodes, Settings
from hyperframe.frame import Frame, GoAwayFrame, SettingsFrame

from pipeline.grpc.http2.fast_frames import PlainFrame, PlainUpdate
from pipeline.grpc.http2.fast_path import FastPathH2
from pipeline.grpc.http2.flood_meter import FloodMeter
from pipeline.grpc.http2.server_input import MeteredFrames, ServerDecoder
from pipeline.grpc.limits import EdgeLimits

ALL_STREAMS: Final = 2**31 - 1  # GOAWAY: go away, but nothing that is under way is lost
HARD_METADATA_LIMIT: Final = 4  # times the limit: above it the connection ends, not the call
WINDOW_BYTES: Final = 4 * 2**20  # grpclib's own default, for a stream and a connection


class ServerH2(FastPathH2):
    """h2's state of a connection, on the server's side."""

    MAX_CLOSED_STREAMS = 4096

    def __init__(self, limits: EdgeLimits) -> None:
        super().__init__()
        self.flood = FloodMeter(limits.control_frames_per_s, limits.control_frames_burst)
        most = HARD_METADATA_LIMIT * limits.max_metadata_bytes
        self.incoming_buffer: MeteredFrames = MeteredFrames(self.flood, most)
        self.decoder = ServerDecoder(most)
        self.local_settings = Settings(
            client=False,
            initial_values={
                SettingCodes.MAX_CONCURRENT_STREAMS: limits.max_streams,
                SettingCodes.MAX_HEADER_LIST_SIZE: limits.max_metadata_bytes,
                SettingCodes.INITIAL_WINDOW_SIZE: WINDOW_BYTES,
            },
        )
        self.max_inbound_frame_size = self.local_settings.max_frame_size
        self._sweep_at = 32
        vars(self)["_receive_frame"] = self._receive_first_frame

    @property
    def greeted(self) -> bool:
        """Whether the client's preface has come."""
        return "_receive_frame" not in vars(self)

    @property
    def mid_frame(self) -> bool:
        """Whether part of a frame or of a header block has come."""
        return self.incoming_buffer.has_part

    @property
    def open_inbound_streams(self) -> int:
        """0, so never too many for h2: :class:`EdgeProcessor` counts and refuses."""
        if len(self.streams) >= self._sweep_at:
            self._open_streams(1)  # forgets the closed ones
            self._sweep_at = 2 * len(self.streams) + 32
        return 0

    def go_away(self, last_stream_id: int) -> None:
        """Queue a GOAWAY(NO_ERROR) that leaves the streams up to ``last_stream_id`` open."""
        self._prepare_for_sending([GoAwayFrame(0, last_stream_id=last_stream_id)])

    def _local_settings_acked(self) -> dict[SettingCodes | int, ChangedSetting]:
        most = self.decoder.max_header_list_size
        changed = super()._local_settings_acked()
        self.decoder.max_header_list_size = most  # h2 takes over what we only ask for
        return changed

    def _receive_first_frame(self, frame: Frame | PlainFrame | PlainUpdate) -> list[Event]:
        if not isinstance(frame, SettingsFrame) or "ACK" in frame.flags:
            raise ProtocolError("the first frame must be SETTINGS")
        del vars(self)["_receive_frame"]
        return self._receive_frame(frame)

    def _fast_data(self, frame: PlainFrame) -> list[Event] | None:
        if not frame.body and not frame.ends_stream:
            self.flood.charge()
        return super()._fast_data(frame)

    def _receive_goaway_frame(self, frame: GoAwayFrame) -> tuple[list[Frame], list[Event]]:
        if frame.error_code != ErrorCodes.NO_ERROR:
            return super()._receive_goaway_frame(frame)
        event = ConnectionTerminated()
        event.error_code = ErrorCodes.NO_ERROR
        event.last_stream_id = frame.last_stream_id
        return [], [event]
