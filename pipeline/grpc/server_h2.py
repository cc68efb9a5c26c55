"""h2's state of one connection, mended where h2 is too strict for a server.

What is mended, and the internals that each mend touches (h2 is pinned exactly):

- *Stream limit.* h2 ends the whole connection at stream 101. The limit is an
  argument here and announced in the first SETTINGS; what is above is for
  :class:`~pipeline.grpc.processor.EdgeProcessor` to refuse.
  (``open_inbound_streams``, ``local_settings``)
- *Sweeping.* h2 walks all streams at each new one; here when their number has
  doubled, so that 1,000 open streams cost no more than 10. (``_open_streams``)
- *Memory.* h2 remembers how the last 65,536 streams of a connection were closed, in
  10 MB; that serves only frames that were under way then. (``MAX_CLOSED_STREAMS``)
- *GOAWAY.* h2 takes no more frames after one, in either direction. Here
  GOAWAY(NO_ERROR) passes its state machine by, so that calls in flight can finish.
  (``_prepare_for_sending``, ``_receive_goaway_frame``)
- *Floods* of control frames end the connection. (``incoming_buffer``)
- *Headers that are not ASCII* do not end the connection: they are read as latin-1,
  which every byte is. (``short_ways.ENCODING``)
"""

from typing import Final

from h2.errors import ErrorCodes
from h2.events import ConnectionTerminated, Event
from h2.settings import SettingCodes, Settings
from hyperframe.frame import Frame, GoAwayFrame

from pipeline.grpc.flood import FloodMeter, MeteredFrames
from pipeline.grpc.limits import EdgeLimits
from pipeline.grpc.short_ways import PlainFrame, ShortWays

ALL_STREAMS: Final = 2**31 - 1  # GOAWAY: go away, but nothing that is under way is lost
WINDOW_BYTES: Final = 4 * 2**20  # grpclib's own default, for a stream and a connection


class ServerH2(ShortWays):
    """h2's state of a connection, on the server's side."""

    MAX_CLOSED_STREAMS = 4096

    def __init__(self, limits: EdgeLimits) -> None:
        super().__init__()
        self.flood = FloodMeter(limits.control_frames_per_s, limits.control_frames_burst)
        self.incoming_buffer = MeteredFrames(self.flood)
        self.local_settings = Settings(
            client=False,
            initial_values={
                SettingCodes.MAX_CONCURRENT_STREAMS: limits.max_streams,
                SettingCodes.MAX_HEADER_LIST_SIZE: self.DEFAULT_MAX_HEADER_LIST_SIZE,
                SettingCodes.INITIAL_WINDOW_SIZE: WINDOW_BYTES,
            },
        )
        self.max_inbound_frame_size = self.local_settings.max_frame_size
        self._sweep_at = 32

    @property
    def open_inbound_streams(self) -> int:
        """Never too many for h2: :class:`EdgeProcessor` counts and refuses."""
        if len(self.streams) >= self._sweep_at:
            self._open_streams(1)  # forgets the closed ones
            self._sweep_at = 2 * len(self.streams) + 32
        return 0

    def go_away(self, last_stream_id: int) -> None:
        """Queue a GOAWAY(NO_ERROR) that leaves the streams up to ``last_stream_id`` open."""
        self._prepare_for_sending([GoAwayFrame(0, last_stream_id=last_stream_id)])

    def _short_data(self, frame: PlainFrame) -> list[Event] | None:
        if not frame.body and not frame.ends_stream:
            self.flood.charge()
        return super()._short_data(frame)

    def _receive_goaway_frame(self, frame: GoAwayFrame) -> tuple[list[Frame], list[Event]]:
        if frame.error_code != ErrorCodes.NO_ERROR:
            return super()._receive_goaway_frame(frame)
        event = ConnectionTerminated()
        event.error_code = ErrorCodes.NO_ERROR
        event.last_stream_id = frame.last_stream_id
        return [], [event]
