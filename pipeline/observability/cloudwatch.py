"""Ships the registry to CloudWatch, given the ``cloudwatch`` extra and credentials.

Counters are shipped as their growth since the last time, gauges as they are, histograms
as each bucket's growth, at the bucket's upper bound (so CloudWatch's percentiles are at
most one bucket too high). What did not grow is left out: CloudWatch charges by series,
and most error codes never happen. Series carry no host, so those of several servers add up.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from itertools import groupby
from typing import Any, Final, TypeAlias

import structlog
import trio
from attrs import field, frozen
from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.samples import Sample

log = structlog.get_logger()

INTERVAL_S: Final = 60.0
DATA_PER_CALL: Final = 500  # the API takes 1,000, and 1 MB
UNITS: Final = {
    "_tokens_per_second": "Count/Second",
    "_seconds": "Seconds",
    "_bytes": "Bytes",
    "_ratio": "None",
}

Key: TypeAlias = tuple[str, tuple[tuple[str, str], ...]]  # a series: name and labels
Put: TypeAlias = Callable[[list[dict[str, Any]]], object]


@frozen
class Datum:
    """One entry of PutMetricData, and how far its series have been shipped with it."""

    entry: dict[str, Any]
    totals: dict[Key, float] = field(factory=dict)


async def ship_metrics(
    registry: CollectorRegistry, *, namespace: str, region: str, interval_s: float = INTERVAL_S
) -> None:
    """Ship ``registry`` to CloudWatch every ``interval_s`` seconds until cancelled.

    An empty ``region`` is the one that AWS's own tools would use. Returns after one
    log line when the extra, credentials or a region are missing. A call that fails is
    logged, and what it should have shipped goes with the next one. The network is used
    in a thread of its own, never in Trio's.
    """
    in_thread = partial(
        trio.to_thread.run_sync, abandon_on_cancel=True, limiter=trio.CapacityLimiter(1)
    )
    try:
        put: Put = await in_thread(_connect, namespace, region)
    except Exception as error:
        log.info("metrics are not shipped to CloudWatch", why=str(error))
        return
    log.info("metrics are shipped to CloudWatch", namespace=namespace, interval_s=interval_s)
    shipped: dict[Key, float] = {}
    while True:
        await trio.sleep(interval_s)
        data = list(data_of(registry.collect(), shipped))
        try:
            for first in range(0, len(data), DATA_PER_CALL):
                call = data[first : first + DATA_PER_CALL]
                await in_thread(put, [datum.entry for datum in call])
                for datum in call:
                    shipped.update(datum.totals)
        except Exception as error:
            log.warning("CloudWatch did not take the metrics", why=str(error))


def data_of(families: Iterable[Metric], shipped: Mapping[Key, float]) -> Iterator[Datum]:
    """What is to be shipped of ``families``, given the totals shipped before."""
    for family in families:
        if family.type == "histogram":
            buckets = (s for s in family.samples if s.name.endswith("_bucket"))
            for labels, group in groupby(buckets, _labels_without_bound):
                yield from _histogram(family.name, labels, list(group), shipped)
        elif family.type == "counter":
            for sample in family.samples:
                grown = sample.value - shipped.get(_key(sample), 0.0)
                if sample.name.endswith("_total") and grown > 0:
                    entry = _entry(sample.name, _key(sample)[1]) | {"Value": grown}
                    yield Datum(entry, {_key(sample): sample.value})
        elif family.type == "gauge":
            for sample in family.samples:
                if math.isfinite(sample.value):
                    yield Datum(_entry(sample.name, _key(sample)[1]) | {"Value": sample.value})


def _histogram(
    name: str,
    labels: tuple[tuple[str, str], ...],
    buckets: list[Sample],
    shipped: Mapping[Key, float],
) -> Iterator[Datum]:
    """One entry with the bounds of the buckets that grew, and by how much."""
    values, counts, below, highest = [], [], 0.0, 0.0
    for bucket in buckets:
        bound = float(bucket.labels["le"])
        highest = bound if math.isfinite(bound) else highest
        grown = bucket.value - shipped.get(_key(bucket), 0.0)
        if grown > below:
            values.append(highest)
            counts.append(grown - below)
        below = grown
    if counts:
        totals = {_key(bucket): bucket.value for bucket in buckets}
        yield Datum(_entry(name, labels) | {"Values": values, "Counts": counts}, totals)


def _entry(name: str, labels: tuple[tuple[str, str], ...]) -> dict[str, Any]:
    stem = name.removesuffix("_total")
    units = [unit for suffix, unit in UNITS.items() if stem.endswith(suffix)]
    return {
        "MetricName": name,
        "Dimensions": [{"Name": label, "Value": value} for label, value in labels],
        "Unit": units[0] if units else "Count",
    }


def _key(sample: Sample) -> Key:
    return sample.name, tuple(sample.labels.items())


def _labels_without_bound(sample: Sample) -> tuple[tuple[str, str], ...]:
    return tuple((name, value) for name, value in sample.labels.items() if name != "le")


def _connect(namespace: str, region: str) -> Put:
    """A function that ships entries; raises with the reason if that is not possible.

    May take a second or two: AWS's tools ask the machine for credentials.
    """
    try:
        import boto3  # type: ignore[import-untyped]  # noqa: PLC0415 (an extra)
        from botocore.config import Config  # type: ignore[import-untyped]  # noqa: PLC0415
    except ImportError:
        raise LookupError(
            "boto3 is not installed: pip install 'penstock[cloudwatch]', or METRICS_ENABLED=false"
        ) from None
    session = boto3.Session(region_name=region or None)
    if session.get_credentials() is None:
        raise LookupError("there are no AWS credentials")
    if session.region_name is None:
        raise LookupError("there is no region: set METRICS_REGION")
    config = Config(
        connect_timeout=5, read_timeout=10, retries={"mode": "standard", "total_max_attempts": 2}
    )
    client = session.client("cloudwatch", config=config)

    def put(entries: list[dict[str, Any]]) -> object:
        return client.put_metric_data(Namespace=namespace, MetricData=entries)

    return put
