"""One second of the live page's history."""

from collections.abc import Mapping
from typing import TypeAlias

from pipeline.observability.totals import Totals

Json: TypeAlias = "Mapping[str, Json] | list[Json] | str | float | int | bool | None"


def second_between(before: Totals, after: Totals) -> dict[str, Json]:
    """What happened between two moments, as the page reads it; rates are per second."""
    passed_s = max(after.at_s - before.at_s, 1e-6)
    tokens, padding = after.tokens - before.tokens, after.padding - before.padding
    busy_s = sum(after.busy_s) - sum(before.busy_s)
    durations = after.durations.since(before.durations)
    refused = {
        reason: number - before.refused.get(reason, 0) for reason, number in after.refused.items()
    }
    stage_ms = {
        stage: _ms(timings.since(before.stages[stage]).mean_s())
        for stage, timings in after.stages.items()
        if stage in before.stages
    }
    return {
        "t": round(after.at_s, 3),
        "answered": round((after.answered - before.answered) / passed_s, 1),
        "failed": round((after.failed - before.failed) / passed_s, 1),
        "refused": {
            reason: round(number / passed_s, 1) for reason, number in refused.items() if number
        },
        "items": round((after.items - before.items) / passed_s, 1),
        "tokens": round(tokens / passed_s),
        "padding_share": round(padding / (tokens + padding), 4) if tokens + padding else 0.0,
        "busy": round(min(1.0, busy_s / passed_s / max(1, len(after.busy_s))), 3),
        "p50_ms": _ms(durations.percentile_s(0.5)),
        "p95_ms": _ms(durations.percentile_s(0.95)),
        "p99_ms": _ms(durations.percentile_s(0.99)),
        "stage_ms": {stage: ms for stage, ms in stage_ms.items() if ms is not None},
    }


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1e3, 3)
