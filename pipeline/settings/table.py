"""Every setting, in one table: name, default, kind, what it means.

A field of :class:`Settings` is a row; those of the model and of the ports stand in
:mod:`pipeline.settings.model_table` and :mod:`pipeline.settings.port_table`. Its name
in capitals is the environment variable, in lower case the key in a TOML file, with
dashes the command-line flag: GRPC_PORT, ``grpc_port``, ``--grpc-port``.
:mod:`pipeline.settings.sources` reads them. Times carry their unit in the name
(``_ms``, ``_s``); sizes are in bytes.

Defaults of the names up to METRICS_NAMESPACE are those that clients of the older
server know; the BACKPRESSURE thresholds are its built-in constants.
"""

from attrs import frozen

from pipeline.settings.field import setting
from pipeline.settings.kinds import Choice, Flag, Integer, Number, Size, Text
from pipeline.settings.port_table import PortSettings
from pipeline.settings.tenant_kinds import HEADER, TenantWeights


class SettingError(Exception):
    """A setting that cannot be used; the message is for whoever set it."""


@frozen
class Settings(PortSettings):
    """The settings in force."""

    batching: str = setting(
        "packed",
        Choice(("packed", "bucketed")),
        "`packed` computes no padding; `bucketed` pads to fixed shapes, and is the fallback for a "
        "model that cannot be packed",
    )
    max_batch_size: int = setting(512, Integer(1, 65536), "Maximum items in a batch")
    max_tokens_per_batch: int = setting(
        32768, Integer(16, 1 << 24), "Maximum tokens in a batch, padding included"
    )
    max_batch_ms: float = setting(
        0.0,
        Number(0, 60_000),
        "Maximum predicted device time of a batch; 0: 250 on CPU, 50 on CUDA",
    )
    deadline_wait_ms: float = setting(
        50.0, Number(0, 60_000), "After this wait a bucket is stale and goes first"
    )
    min_item_delay_ms: float = setting(
        5.0,
        Number(0, 60_000),
        "How long an idle device waits for requests that are already in the server, or that just "
        "answered callers are likely to send, before it runs a batch that is not full",
    )
    gpu_queue_maxsize: int = setting(
        4, Integer(1, 64), "Batches on their way to a device; at most two are formed ahead"
    )
    max_items_per_request: int = setting(4096, Integer(1, 1 << 20), "Maximum items in a request")
    max_request_bytes: int = setting(16 << 20, Size(1024, 1 << 30), "Maximum bytes of a request")
    max_tokens_per_request: int = setting(
        1 << 22, Integer(1, 1 << 31), "Maximum tokens of a request, after truncation"
    )
    max_item_bytes: int = setting(1 << 20, Size(16, 1 << 30), "Maximum bytes of one text")
    max_concurrent_requests: int = setting(
        1024, Integer(1, 1 << 20), "Maximum requests in the server at a time"
    )
    max_stream_requests: int = setting(
        256,
        Integer(1, 1 << 20),
        "Maximum requests in flight on one stream; no more is read from it until one is answered",
    )
    max_wait_time_s: float = setting(
        30.0,
        Number(0, 3600, above=True),
        "Deadline of a call that has none of its own, and of each request of a stream",
    )
    backpressure_throughput_enabled: bool = setting(
        True, Flag(), "Refuse by the predicted time to drain the queue"
    )
    backpressure_max_drain_ms: float = setting(
        2000.0, Number(0, 3_600_000, above=True), "Throughput strategy: longest predicted drain"
    )
    backpressure_max_queued_tokens: int = setting(
        131072, Integer(1, 1 << 30), "Maximum tokens queued"
    )
    max_queued_bytes: int = setting(
        64 << 20, Size(1024, 1 << 40), "Maximum bytes of texts that wait for the tokenizer"
    )
    backpressure_ema_alpha: float = setting(
        0.3,
        Number(0, 1, above=True),
        "Weight of the newest full batch in what is known of the device's speed",
    )
    backpressure_latency_enabled: bool = setting(False, Flag(), "Refuse by the P95 latency seen")
    backpressure_latency_window_s: float = setting(
        1.0, Number(0, 3600, above=True), "Latency strategy: length of the sliding window"
    )
    backpressure_soft_p95_ms: float = setting(
        100.0, Number(0, 3_600_000, above=True), "Latency strategy: above it a share is refused"
    )
    backpressure_hard_p95_ms: float = setting(
        200.0, Number(0, 3_600_000, above=True), "Latency strategy: above it everything is refused"
    )
    backpressure_shed_share: float = setting(
        0.25, Number(0, 1), "Latency strategy: the share refused between soft and hard"
    )
    backpressure_min_samples: int = setting(
        20, Integer(1, 1 << 20), "Latency strategy: answers in the window before it judges"
    )
    bulk_share: float = setting(
        0.5, Number(0, 1, above=True), "Share of the queue's limits that bulk requests may fill"
    )
    bulk_aging_ms: float = setting(
        5000.0,
        Number(0, 3_600_000),
        "A bulk item that has waited for this long counts as interactive",
    )
    tenant_weights: tuple[tuple[str, float], ...] = setting(
        (),
        TenantWeights(),
        "Weights of callers that compete, such as `search:3,import:0.5`; others have 1",
    )
    tenant_header: str = setting(
        "",
        HEADER,
        "Header (gRPC metadata) that names the caller in place of its API key; set it only behind "
        "a proxy that you trust to set it",
    )
    load_reports: bool = setting(
        False, Flag(), "Answers carry an ORCA load report, for balancers that weigh by it"
    )
    standing_queue_ms: float = setting(
        3000.0,
        Number(0, 3_600_000, above=True),
        "When everything that is served has waited longer than this, the newest goes first",
    )
    standing_queue_interval_ms: float = setting(
        1000.0, Number(0, 3_600_000, above=True), "How long that must last before it takes effect"
    )
    shutdown_hold_s: float = setting(
        0.0,
        Number(0, 3600),
        "How long everything is still served after SIGTERM, while health already announces the "
        "end: longer than balancers take to notice",
    )
    shutdown_grace_s: float = setting(
        30.0, Number(0, 3600), "How long requests may finish after SIGTERM and the hold"
    )
    hang_timeout_s: float = setting(
        30.0,
        Number(0, 3600, above=True),
        "A device that has work and finishes nothing for this long, beyond what the work should "
        "take, counts as hung, and the process ends",
    )
    device_failures_max: int = setting(
        10,
        Integer(1, 1 << 20),
        "Batches that a device may fail one after another before the process ends",
    )
    restarts_max: int = setting(
        5, Integer(0, 1000), "Crashes of a stage that are answered by a restart"
    )
    restarts_window_s: float = setting(
        60.0, Number(0, 86_400, above=True), "The time in which RESTARTS_MAX are counted"
    )
    trace_file: str = setting(
        "", Text("a file"), "Write a stage trace here (Chrome trace events, opens in Perfetto)"
    )
    otel_exporter_otlp_endpoint: str = setting(
        "",
        Text("an address such as http://localhost:4317", r"(https?://[^\s/]+/?)?"),
        "OpenTelemetry collector (OTLP over gRPC) that gets a trace of the requests; needs the "
        "otel extra; unset: none",
    )
    otel_service_name: str = setting(
        "penstock", Text("a name", r".+"), "Service name in those traces"
    )
    otel_traces_sampler_arg: float = setting(
        1.0,
        Number(0, 1),
        "Share of the requests that are traced when their caller sends no `traceparent`",
    )
    log_format: str = setting("console", Choice(("console", "json")), "Format of log lines")
    log_level: str = setting(
        "info", Choice(("debug", "info", "warning", "error")), "Lowest level that is logged"
    )
    metrics_enabled: bool = setting(
        True, Flag(), "Ship metrics to CloudWatch, given the cloudwatch extra and credentials"
    )
    metrics_namespace: str = setting(
        "GPUInference",
        Text("1 to 255 of A-Z a-z 0-9 . - _ / # :", r"[\w.\-/#:]{1,255}"),
        "CloudWatch namespace",
    )
    metrics_region: str = setting(
        "", Text("an AWS region", r"[a-z0-9-]*"), "CloudWatch region; unset: what AWS's tools use"
    )
    null_dimension: int = setting(
        384, Integer(1, 65536), "Dimension of the vectors that DEVICE=null gives"
    )
