"""What one client may cost the edge."""

from attrs import frozen


@frozen
class EdgeLimits:
    """The limits of a connection; a request's own are in :class:`pipeline.face.RequestLimits`.

    ``max_streams`` are a connection's calls at a time. ``control_frames_per_s`` and
    ``control_frames_burst``: see :class:`~pipeline.grpc.flood.FloodMeter`.
    """

    max_streams: int = 1088
    control_frames_per_s: float = 500.0
    control_frames_burst: int = 2000
