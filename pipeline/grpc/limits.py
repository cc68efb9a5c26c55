"""What one client may cost the edge."""

from attrs import frozen


@frozen
class EdgeLimits:
    """The limits of a connection; a request's own are in :class:`pipeline.face.RequestLimits`.

    ``max_streams`` are a connection's calls at a time. ``max_metadata_bytes`` counts a
    call's headers as HTTP/2 does: 32 bytes more than each has. ``control_frames_per_s`` and
    ``control_frames_burst``: see :class:`~pipeline.grpc.flood.FloodMeter`.
    """

    max_streams: int = 1088
    max_metadata_bytes: int = 16 << 10
    control_frames_per_s: float = 500.0
    control_frames_burst: int = 2000
