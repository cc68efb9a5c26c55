"""What each device has run, as Prometheus series with the label ``device``."""

from collections.abc import Iterator, Sequence
from typing import Final

from attrs import define
from prometheus_client.core import Metric

from pipeline.observability.metric_families import counters, gauges
from stages.device.spec import DeviceFigures

TEXTS: Final = {
    "items": "Items run on the device",
    "tokens": "True tokens run on the device",
    "padding": "Tokens run on the device for nothing",
    "failed_batches": "Batches that the device failed",
    "busy_s": "Time the device spent on batches",
}
NAMES: Final = {"padding": "padding_tokens", "busy_s": "device_busy_seconds"}


@define
class DeviceCounts:
    """The work of one device since the start."""

    items: int = 0
    tokens: int = 0  # true ones
    padding: int = 0
    failed_batches: int = 0
    busy_s: float = 0.0


def device_families(devices: Sequence[DeviceCounts]) -> Iterator[Metric]:
    """A counter for each figure and device; a device's label is its place in DEVICE."""
    for field, text in TEXTS.items():
        values = {str(number): getattr(counts, field) for number, counts in enumerate(devices)}
        yield counters(NAMES.get(field, field), text, "device", values)


def figure_families(figures: Sequence[DeviceFigures]) -> Iterator[Metric]:
    """The figures that each device reports."""

    def by_device(field: str) -> dict[str, float]:
        return {str(number): getattr(each, field) for number, each in enumerate(figures)}

    text = "Batches that replayed a CUDA graph"
    yield counters("graph_hits", text, "device", by_device("graph_hits"))
    text = "Batches that ran without a CUDA graph on a device that captures them"
    yield counters("graph_misses", text, "device", by_device("graph_misses"))
    text = "Batches that were split for want of device memory"
    yield counters("out_of_memory", text, "device", by_device("out_of_memory"))
    text = "Largest batch; lowered when memory did not suffice"
    yield gauges("device_max_batch_tokens", text, "device", by_device("max_tokens"))
    yield gauges("graphs", "CUDA graphs captured", "device", by_device("graphs"))
    yield gauges("graph_bytes", "Memory of CUDA graphs", "device", by_device("graph_bytes"))
