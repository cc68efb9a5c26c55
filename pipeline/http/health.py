"""What the health routes say, as pure functions of the server's state."""

import math
from typing import Final, TypeAlias

from pipeline.interface.status import LoadSnapshot, Phase, ServerStatus

CAN_SERVE: Final = frozenset({ServerStatus.HEALTHY, ServerStatus.DEGRADED, ServerStatus.OVERLOADED})

Plain: TypeAlias = str | bool | int | float | None
Json: TypeAlias = dict[str, Plain | list[dict[str, Plain]]]


def health_body(load: LoadSnapshot) -> Json:
    """The fields of ``GET /health``. Numbers that are not finite become null.

    With several devices there is also a list of them, in the order of DEVICE.
    """
    body: Json = {
        "status": load.status,
        "accepting_requests": load.accepting_requests,
        "queued_tokens": load.queued_tokens,
        "service_rate_tokens_per_sec": _rounded(load.service_rate_tokens_per_s),
        "estimated_drain_time_ms": _rounded(load.estimated_drain_s, 1e3),
        "p95_server_side_latency_ms": _rounded(load.p95_latency_s, 1e3),
        "gpu_queue_depth": load.gpu_queue_depth,
        "embedding_dimension": load.embedding_dimension,
        "uptime_seconds": int(load.uptime_s),
    }
    if len(load.devices) > 1:
        body["devices"] = [
            {"batches": device.batches, "silent_seconds": _rounded(device.silent_s)}
            for device in load.devices
        ]
    return body


def can_serve(load: LoadSnapshot) -> bool:
    """Whether ``/health`` is 200: an overloaded server still answers what it has accepted."""
    return load.status in CAN_SERVE


def is_ready(load: LoadSnapshot) -> bool:
    """Whether ``/readyz`` is 200: new work is accepted."""
    return load.phase is Phase.SERVING and load.accepting_requests


def is_alive(load: LoadSnapshot, hang_timeout_s: float) -> bool:
    """Whether ``/livez`` is 200.

    Not after a failure, nor when a device has work and has finished no batch for
    ``hang_timeout_s``.
    """
    return load.phase is not Phase.FAILED and load.idle_for_s < hang_timeout_s


def _rounded(value: float | None, factor: float = 1.0) -> float | None:
    if value is None or not math.isfinite(value):
        return None
    return round(value * factor, 3)
