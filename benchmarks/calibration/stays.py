"""Where calls spend their time, by the traces of a server and of its model."""

import statistics
from collections.abc import Sequence
from typing import Final

from pipeline.observability.trace_picture import read_trace, spans_of

SHOWN: Final = ("tokenizing", "batching", "execution", "device", "request")


def median_stays_ms(traces: Sequence[str], for_s: float) -> dict[str, float]:
    """What a stay takes in each stage, a batch on the device, and a request in all of them.

    Of each trace, what began within ``for_s`` of its beginning. 0 where there is none.
    """
    stays: dict[str, list[int]] = {row: [] for row in SHOWN}
    for trace in traces:
        spans = [span for span in spans_of(read_trace(trace)) if span.row in stays]
        end = min((span.begin for span in spans), default=0) + for_s * 1e6
        for span in spans:
            if span.begin < end:
                stays[span.row].append(span.end - span.begin)
    return {row: statistics.median(found or [0.0]) / 1e3 for row, found in stays.items()}
