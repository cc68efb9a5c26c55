"""Plain numbers as Prometheus series, every name with the prefix ``penstock_``."""

from collections.abc import Iterator, Mapping
from typing import Final

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from pipeline.interface.status import LoadSnapshot, Phase, ServerStatus
from pipeline.observability.histogram import Histogram

PREFIX: Final = "penstock_"


def counter(name: str, text: str, value: float) -> Metric:
    """One counter; its series is ``penstock_<name>_total``."""
    return CounterMetricFamily(PREFIX + name, text, value=value)


def counters(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    """A counter for each value of ``label``; the series is ``penstock_<name>_total``."""
    return _filled(CounterMetricFamily(PREFIX + name, text, labels=[label]), values)


def gauge(name: str, text: str, value: float) -> Metric:
    """One gauge."""
    return GaugeMetricFamily(PREFIX + name, text, value=value)


def gauges(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    """A gauge for each value of ``label``."""
    return _filled(GaugeMetricFamily(PREFIX + name, text, labels=[label]), values)


def _filled(family: CounterMetricFamily | GaugeMetricFamily, values: Mapping[str, float]) -> Metric:
    for key, value in values.items():
        family.add_metric([key], value)
    return family


def histogram(name: str, text: str, values: Histogram) -> Metric:
    """One histogram."""
    family = HistogramMetricFamily(PREFIX + name, text, labels=[])
    family.add_metric([], values.cumulative(), values.sum)
    return family


def histograms(name: str, text: str, label: str, values: Mapping[str, Histogram]) -> Metric:
    """A histogram for each value of ``label``."""
    family = HistogramMetricFamily(PREFIX + name, text, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value.cumulative(), value.sum)
    return family


def load_families(load: LoadSnapshot) -> Iterator[Metric]:
    """The server's state as gauges."""
    yield gauge("up", "1 unless the server has failed", load.phase is not Phase.FAILED)
    yield gauge("ready", "1 while the server accepts work", load.accepting_requests)
    statuses = {status.value: float(status == load.status) for status in ServerStatus}
    yield gauges("status", "1 for the status that /health shows", "status", statuses)
    yield gauge("uptime_seconds", "Time since the start", load.uptime_s)
    yield gauge("open_requests", "Requests not answered yet", load.open_requests)
    yield gauge("queued_tokens", "Tokens that wait for a device", load.queued_tokens)
    yield gauge("backlog_seconds", "Time to work off what waits", load.estimated_drain_s)
    yield gauge(
        "service_rate_tokens_per_second",
        "The speed of all devices while they are busy; 0 while unknown",
        load.service_rate_tokens_per_s,
    )
    yield gauge("device_queue_batches", "Batches at the devices", load.gpu_queue_depth)
    in_hand = {str(number): device.batches for number, device in enumerate(load.devices)}
    yield gauges("device_batches", "Batches that a device has in hand", "device", in_hand)
    silent_s = {str(number): device.silent_s for number, device in enumerate(load.devices)}
    text = "Time in which a device has given nothing back though its work should be done"
    yield gauges("device_silent_seconds", text, "device", silent_s)
