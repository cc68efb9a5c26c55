"""What one client may cost the edge."""

from attrs import frozen


@frozen
class EdgeLimits:
    """The limits of a connection; a request's own are in :mod:`pipeline.interface.status`.

    ``max_streams`` is a connection's calls at a time, ``max_held_bytes`` how many bytes they
    may keep (:mod:`pipeline.grpc.connection_memory`). ``max_metadata_bytes`` counts a call's
    headers as HTTP/2 does: each with 32 bytes more than it has.
    ``control_frames_per_s``, ``control_frames_burst``: see
    :class:`~pipeline.grpc.http2.flood_meter.FloodMeter`; ``stall_timeout_s``: see
    :class:`~pipeline.grpc.http2.stall_timeout.StallTimeout`; the last four: see
    :class:`~pipeline.grpc.http2.connection_age.ConnectionAge` (0: never).
    ``max_connection_age_jitter`` is the share by which the age varies, up or down.
    """

    max_connections: int = 4096
    max_streams: int = 1088
    max_metadata_bytes: int = 16 << 10
    max_held_bytes: int = 24 << 20
    control_frames_per_s: float = 500.0
    control_frames_burst: int = 2000
    stall_timeout_s: float = 10.0
    keepalive_s: float = 300.0
    max_connection_age_s: float = 0.0
    max_connection_age_jitter: float = 0.1
    max_connection_age_grace_s: float = 30.0
