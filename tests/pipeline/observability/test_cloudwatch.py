"""Shipping to CloudWatch, over HTTP, to a server that speaks its API."""

import sys
from contextlib import asynccontextmanager

import boto3
import pytest
import structlog.testing
import trio
from attrs import define, field
from journeys import Journey
from moto.server import ThreadedMotoServer
from prometheus_client import CollectorRegistry, Counter

from pipeline.observability import cloudwatch
from pipeline.observability.cloudwatch import ship_metrics
from pipeline.observability.metrics import Metrics

REGION = "eu-west-1"
STARTED = "metrics are shipped to CloudWatch"
OFF = "metrics are not shipped to CloudWatch"
FAILED = "CloudWatch did not take the metrics"


@pytest.fixture
def registry():
    return CollectorRegistry()


@pytest.fixture(scope="module")
def moto():
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(autouse=True)
def aws(monkeypatch, tmp_path):
    """No credentials, files or metadata service of the machine that runs the tests."""
    for name in ("AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ACCESS_KEY_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))


@pytest.fixture
def credentials(monkeypatch, aws):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "tests")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "tests")


@pytest.fixture
def endpoint(monkeypatch, moto, credentials):
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto)
    return moto


@define
class Calls:
    """Counts the calls to CloudWatch that have ended; the first ``failures`` are refused."""

    failures: int = 0
    begun: int = 0
    ended: int = 0
    news: trio.Event = field(factory=trio.Event)

    def end(self):
        self.ended += 1
        self.news.set()

    async def reach(self, number):
        """Wait until that many calls have ended."""
        with trio.fail_after(30):
            while self.ended < number:
                self.news = trio.Event()
                await self.news.wait()


@asynccontextmanager
async def shipping(registry, namespace, calls, monkeypatch):
    """``ship_metrics`` with calls that can be awaited and made to fail."""
    real = cloudwatch._connect
    token = trio.lowlevel.current_trio_token()

    def connect(*where):
        put = real(*where)

        def counted(entries):
            calls.begun += 1
            try:
                if calls.begun <= calls.failures:
                    raise ConnectionError("no route")
                return put(entries)
            finally:
                token.run_sync_soon(calls.end)

        return counted

    monkeypatch.setattr(cloudwatch, "_connect", connect)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(
            lambda: ship_metrics(registry, namespace=namespace, region=REGION, interval_s=0.01)
        )
        yield
        nursery.cancel_scope.cancel()


def sum_of(endpoint, namespace, name, **labels):
    client = boto3.client("cloudwatch", region_name=REGION, endpoint_url=endpoint)
    found = client.get_metric_statistics(
        Namespace=namespace,
        MetricName=name,
        Dimensions=[{"Name": key, "Value": value} for key, value in labels.items()],
        StartTime="2000-01-01T00:00:00Z",
        EndTime="2100-01-01T00:00:00Z",
        Period=86400 * 365 * 100,
        Statistics=["Sum", "SampleCount"],
    )["Datapoints"]
    return sum(point["Sum"] for point in found), sum(point["SampleCount"] for point in found)


async def test_the_registry_reaches_cloudwatch(endpoint, monkeypatch):
    metrics, calls = Metrics(), Calls()
    journey = Journey(metrics)
    journey.whole(items=3)
    async with shipping(metrics.registry, "Whole", calls, monkeypatch):
        await calls.reach(1)
        journey.whole(begin=10.0)
        await calls.reach(calls.ended + 2)  # one may have been under way
    assert sum_of(endpoint, "Whole", "penstock_requests_total", code="ok")[0] == 2
    assert sum_of(endpoint, "Whole", "penstock_items_total")[0] == 4
    assert sum_of(endpoint, "Whole", "penstock_request_duration_seconds") == (20.0, 2)
    assert sum_of(endpoint, "Whole", "penstock_stage_seconds", stage="execution") == (2.0, 2)
    assert sum_of(endpoint, "Whole", "penstock_ready")[1] >= 3


async def test_what_could_not_be_shipped_goes_with_the_next_call(endpoint, monkeypatch, registry):
    Counter("work", "text", registry=registry).inc(5)
    calls = Calls(failures=2)
    with structlog.testing.capture_logs() as logs:
        async with shipping(registry, "Failing", calls, monkeypatch):
            await calls.reach(3)
    assert [line["event"] for line in logs] == [STARTED, FAILED, FAILED]
    assert logs[-1]["why"] == "no route"
    assert sum_of(endpoint, "Failing", "work_total")[0] == 5


async def test_many_series_take_several_calls(endpoint, monkeypatch, registry):
    monkeypatch.setattr(cloudwatch, "DATA_PER_CALL", 4)
    counter, calls = Counter("work", "text", ["kind"], registry=registry), Calls()
    for kind in range(10):
        counter.labels(f"k{kind}").inc()
    async with shipping(registry, "Many", calls, monkeypatch):
        await calls.reach(3)
    assert [sum_of(endpoint, "Many", "work_total", kind=f"k{k}")[0] for k in range(10)] == [1] * 10


@pytest.mark.parametrize("region", [REGION, ""])
async def test_without_credentials_it_is_off_with_one_line(registry, region):
    with structlog.testing.capture_logs() as logs:
        await ship_metrics(registry, namespace="Off", region=region)
    assert [(line["event"], line["why"]) for line in logs] == [
        (OFF, "there are no AWS credentials")
    ]


async def test_without_a_region_it_is_off_with_one_line(registry, credentials):
    with structlog.testing.capture_logs() as logs:
        await ship_metrics(registry, namespace="Off", region="")
    assert [line["why"] for line in logs] == ["there is no region: set METRICS_REGION"]


async def test_without_the_extra_it_is_off_with_one_line(registry, credentials, monkeypatch):
    monkeypatch.setitem(sys.modules, "boto3", None)
    with structlog.testing.capture_logs() as logs:
        await ship_metrics(registry, namespace="Off", region=REGION)
    assert [line["event"] for line in logs] == [OFF]
    assert "penstock[cloudwatch]" in logs[0]["why"]


async def test_half_of_the_credentials_are_said_so(registry, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "tests")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY", raising=False)
    with structlog.testing.capture_logs() as logs:
        await ship_metrics(registry, namespace="Off", region=REGION)
    assert [line["event"] for line in logs] == [OFF]
    assert "credentials" in logs[0]["why"]


async def test_nothing_listens_and_the_server_goes_on(registry, credentials, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    Counter("work", "text", registry=registry).inc()
    calls = Calls()
    with structlog.testing.capture_logs() as logs:
        async with shipping(registry, "Nobody", calls, monkeypatch):
            await calls.reach(2)
    assert {line["event"] for line in logs} == {STARTED, FAILED}
