"""What each device has run, as Prometheus series with the label ``device``."""

from collections.abc import Iterator, Sequence
from typing import Final

from attrs import define
from prometheus_client.core import Metric

from pipeline.observability.metric_families import counters

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
