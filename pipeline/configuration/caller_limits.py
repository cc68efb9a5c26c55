"""What callers may ask for, and cost."""

from typing import Final

from pipeline.grpc.limits import EdgeLimits
from pipeline.interface.status import RequestLimits
from pipeline.settings.table import Settings

SPARE_STREAMS: Final = 64


def request_limits(settings: Settings) -> RequestLimits:
    """The fixed limits of one request."""
    return RequestLimits(
        max_items=settings.max_items_per_request,
        max_request_bytes=settings.max_request_bytes,
        max_item_bytes=settings.max_item_bytes,
        max_wait_s=settings.max_wait_time_s,
    )


def edge_limits(settings: Settings) -> EdgeLimits:
    """What one gRPC client may cost.

    A few more streams than requests, so that health, Info and the refusals themselves get
    through where everything comes on one connection.
    """
    streams = settings.max_streams_per_connection
    return EdgeLimits(
        max_connections=settings.max_connections,
        max_streams=streams or settings.max_concurrent_requests + SPARE_STREAMS,
        max_metadata_bytes=settings.max_metadata_bytes,
        max_held_bytes=settings.max_held_bytes,
        control_frames_per_s=settings.control_frames_per_s,
        control_frames_burst=settings.control_frames_burst,
        stall_timeout_s=settings.stall_timeout_s,
        keepalive_s=settings.keepalive_s,
        max_connection_age_s=settings.max_connection_age_s,
        max_connection_age_jitter=settings.max_connection_age_jitter,
        max_connection_age_grace_s=settings.max_connection_age_grace_s,
    )
