"""What the live page shows of this moment, as JSON."""

from collections.abc import Iterable

from pipeline.http.live.counts import Counts
from pipeline.http.live.second import Json
from pipeline.interface.status import LoadSnapshot, ModelInfo, ServerStatus


def frame(
    load: LoadSnapshot, model: ModelInfo | None, counts: Counts, since: float
) -> dict[str, Json]:
    """The state now, with the batches that have ended after ``since``."""
    return {
        "status": str(load.status),
        "model": None if model is None else _model(model),
        "open": load.open_requests,
        "queued_tokens": load.queued_tokens,
        "backlog_s": round(load.estimated_drain_s, 3),
        "channels": {stage: list(numbers) for stage, numbers in counts.channels().items()},
        "buckets": [list(numbers) for numbers in counts.waiting()],
        "batches": [
            [ran.number, ran.device, ran.items, ran.tokens, round(ran.device_s * 1e3, 2)]
            for ran in counts.recent_batches()
            if ran.ended_at_s > since
        ],
    }


def hello(seconds: Iterable[Json]) -> dict[str, Json]:
    """The first event for a viewer: the history."""
    return {"seconds": list(seconds)}


def is_final(load: LoadSnapshot) -> bool:
    """Whether streams to viewers should end: an open one would hold up the shutdown."""
    return load.status in (ServerStatus.DRAINING, ServerStatus.FAILED)


def _model(model: ModelInfo) -> Json:
    return {
        "id": model.model_id,
        "dimension": model.dimension,
        "dtype": model.dtype,
        "device": model.device,
        "batching": model.batching,
    }
