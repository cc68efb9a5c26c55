"""What an edge (gRPC, HTTP, the simulator) sees of the server: values for any thread."""

from collections.abc import Mapping
from enum import Enum, StrEnum
from typing import Final, Protocol

from attrs import field, frozen

from pipeline.overload.load_report import LoadReport
from stages.errors import NotServing
from stages.requests.output import Output


class Phase(Enum):
    """Where the server is in its life."""

    LOADING = "loading"
    SERVING = "serving"
    DRAINING = "draining"
    FAILED = "failed"


class ServerStatus(StrEnum):
    """The server's status on its health routes."""

    LOADING = "loading"
    HEALTHY = "healthy"
    DEGRADED = "degraded"
    OVERLOADED = "overloaded"
    DRAINING = "draining"
    FAILED = "failed"


WHY_NOT: Final = {
    Phase.LOADING: "the model is still loading",
    Phase.DRAINING: "the server is shutting down",
    Phase.FAILED: "the server has failed",
}


def not_serving(phase: Phase, *, retry_after_s: float = 1.0) -> NotServing:
    """Why nothing is served in ``phase``, which is not SERVING."""
    return NotServing(WHY_NOT[phase], retry_after_s=retry_after_s)


@frozen
class ModelInfo:
    """What is known of the loaded model once it has warmed up."""

    model_id: str
    fingerprint: str  # 16 hex digits: weights, tokenizer, recipe, prompts, dtype
    dimension: int
    max_tokens: int
    vocabulary: int  # ids are in 0 ... vocabulary - 1
    pooling: str  # "" for a classifier
    normalize: bool  # what the model declares; a request may ask otherwise
    dtype: str
    device: str
    batching: str  # packed | bucketed
    batching_reason: str  # why it is not what was asked for; else ""
    prompts: Mapping[str, str]
    outputs: tuple[Output, ...] = (Output.POOLED,)  # what it offers
    labels: tuple[str, ...] = ()  # of a classifier's scores, in their order


@frozen
class RequestLimits:
    """Fixed limits of one request, checked before anything is decoded."""

    max_items: int
    max_request_bytes: int
    max_item_bytes: int
    max_wait_s: float  # a call without a deadline of its own gets this one


@frozen
class DeviceState:
    """One device at one moment."""

    batches: int = 0  # in hand
    silent_s: float = 0.0  # since its work should have been done; 0 while it need not be


@frozen
class LoadSnapshot:
    """The server's state at one moment: health routes and early refusals read it."""

    phase: Phase
    status: ServerStatus
    accepting_requests: bool
    queued_tokens: int
    service_rate_tokens_per_s: float  # 0 while unknown
    estimated_drain_s: float
    p95_latency_s: float | None
    gpu_queue_depth: int
    embedding_dimension: int
    uptime_s: float
    retry_after_s: float  # when not accepting: predicted time until there is room
    open_requests: int
    devices: tuple[DeviceState, ...] = (DeviceState(),)  # in the order of DEVICE
    report: LoadReport = field(factory=LoadReport)  # for balancers

    @property
    def idle_for_s(self) -> float:
        """For how long the most silent device should have finished its work; else 0."""
        return max(device.silent_s for device in self.devices)


NOTHING_KNOWN: Final = LoadSnapshot(
    phase=Phase.LOADING,
    status=ServerStatus.LOADING,
    accepting_requests=False,
    queued_tokens=0,
    service_rate_tokens_per_s=0.0,
    estimated_drain_s=0.0,
    p95_latency_s=None,
    gpu_queue_depth=0,
    embedding_dimension=0,
    uptime_s=0.0,
    retry_after_s=0.0,
    open_requests=0,
)


class StatusBoard(Protocol):
    """The server's published state; safe to read from any thread."""

    @property
    def snapshot(self) -> LoadSnapshot:
        """The newest published state."""
        ...

    @property
    def model(self) -> ModelInfo | None:
        """The loaded model; None while loading."""
        ...

    @property
    def limits(self) -> RequestLimits:
        """The fixed limits of a request."""
        ...
