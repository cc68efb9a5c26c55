"""Every setting, in one table: name, default, kind, what it means.

A field of :class:`Settings` is a row. Its name in capitals is the environment
variable, in lower case the key in a TOML file, with dashes the command-line flag:
GRPC_PORT, ``grpc_port``, ``--grpc-port``. :mod:`pipeline.settings.sources` reads
them. Times carry their unit in the name (``_ms``, ``_s``); sizes are in bytes.

Defaults of the names up to METRICS_NAMESPACE are those that clients of the older
server know; the BACKPRESSURE thresholds are its built-in constants.
"""

from typing import Any

import attrs
from attrs import frozen

from pipeline.settings.device_kinds import CpuSets, Devices
from pipeline.settings.kinds import Choice, Flag, Integer, Kind, Number, Size, Text, Words

PORT = Integer(0, 65535)
POOLINGS = ("", "cls", "mean", "max", "mean_sqrt_len", "weightedmean", "lasttoken")
REVISION = Text("a branch, a tag or a commit", r"[\w./-]*")
ORIGINS = Words("origins", r"\*|https?://[\w.:\[\]-]+")
HOST = Text("an address or a host name", r"[\w.:%-]+")


class SettingError(Exception):
    """A setting that cannot be used; the message is for whoever set it."""


def _row(default: object, kind: Kind, meaning: str) -> Any:
    return attrs.field(default=default, metadata={"kind": kind, "meaning": meaning})


@frozen
class Settings:
    """The settings in force."""

    model_path: str = _row(
        "",
        Text("a folder, a hub id or a URL"),
        "Local folder, Hugging Face hub id, `s3://bucket/prefix` or a URL of any installed "
        "fsspec driver; unset serves the embedded all-MiniLM-L6-v2",
    )
    model_revision: str = _row("", REVISION, "Branch, tag or commit of a hub model")
    model_cache_dir: str = _row(
        "/tmp/model_cache",  # noqa: S108 (the default that users of the older server know)
        Text("a folder", r".+"),
        "Where downloaded models are kept",
    )
    trust_remote_code: bool = _row(False, Flag(), "Run Python code that comes with a model")
    device: tuple[str, ...] = _row(
        ("auto",),
        Devices(),
        "`auto` (CUDA where there is one), `cpu`, `cuda` or `cuda:N`, or several, such as "
        "`cuda:0,cuda:1`; `null` loads no weights and answers numbers made of the token ids, for "
        "load tests",
    )
    device_threads: int = _row(
        0, Integer(0, 1024), "Threads of a CPU engine; 0: the cores that it has, by device"
    )
    device_cpus: tuple[tuple[int, ...], ...] = _row(
        (),
        CpuSets(),
        "Cores that the threads of the device run on, such as `0-1` or `0,2-3`; with several "
        "devices `0-3;4-7` gives each its own; unset: all cores",
    )
    dtype: str = _row(
        "auto",
        Choice(("auto", "float32", "float16", "bfloat16")),
        "Number format of the weights; `auto`: float32 on CPU, bfloat16 or float16 on CUDA",
    )
    attention: str = _row(
        "auto",
        Choice(("auto", "sdpa", "flash_attention_2")),
        "Attention kernel; `flash_attention_2` needs CUDA and the flash-attn extra",
    )
    compile: bool = _row(
        True,
        Flag(),
        "Compile a packed model on CUDA: faster batches, and a start that takes longer",
    )
    pooling: str = _row(
        "", Choice(POOLINGS), "Pooling to use in place of the one that the model declares"
    )
    control_tokens: tuple[str, ...] = _row(
        (), Words(), "Tokens to add to the tokenizer, such as `[query],[title]`"
    )
    pooling_exclude_tokens: tuple[str, ...] = _row((), Words(), "Tokens left out of the pooling")
    pooling_exclude_special: bool = _row(
        False,
        Flag(),
        "Leave what the tokenizer puts around every text ([CLS], [SEP]) out of the pooling; "
        "other special tokens in a text ([UNK], [MASK], control tokens) count",
    )
    grpc_host: str = _row("127.0.0.1", HOST, "gRPC listen address")
    grpc_port: int = _row(50051, PORT, "gRPC listen port; 0: any free one")
    grpc_reflection: bool = _row(False, Flag(), "Offer gRPC server reflection")
    http_host: str = _row("127.0.0.1", HOST, "HTTP listen address")
    http_health_port: int = _row(8001, PORT, "HTTP health and metrics port; 0: any free one")
    cors_origins: tuple[str, ...] = _row(
        (),
        ORIGINS,
        "Web pages of these origins, such as `https://example.org`, may call over HTTP; `*`: all",
    )
    stall_timeout_s: float = _row(
        10.0,
        Number(0, 3600, above=True),
        "A client that neither sends the rest of its request nor takes its answer for so long is "
        "given up",
    )
    tls_cert_file: str = _row(
        "",
        Text("a file"),
        "Certificate chain (PEM) with which both ports speak TLS; read anew when it changes",
    )
    tls_key_file: str = _row("", Text("a file"), "The certificate's private key (PEM)")
    tls_client_ca_file: str = _row(
        "",
        Text("a file"),
        "Clients must show a certificate that one of these (PEM) has signed; HTTP's health and "
        "metrics routes stay open",
    )
    api_keys_file: str = _row(
        "",
        Text("a file"),
        "Callers must bring a key that stands here, as `penstock key` makes them; read anew when "
        "it changes",
    )
    batching: str = _row(
        "packed",
        Choice(("packed", "bucketed")),
        "`packed` computes no padding; `bucketed` pads to fixed shapes, and is what a model "
        "falls back to that cannot be packed",
    )
    max_batch_size: int = _row(512, Integer(1, 65536), "Maximum items in a batch")
    max_tokens_per_batch: int = _row(
        32768, Integer(16, 1 << 24), "Maximum tokens in a batch, padding included"
    )
    max_batch_ms: float = _row(
        0.0,
        Number(0, 60_000),
        "Maximum predicted device time of a batch; 0: 250 on CPU, 50 on CUDA",
    )
    deadline_wait_ms: float = _row(
        50.0, Number(0, 60_000), "After this wait a bucket is stale and goes first"
    )
    min_item_delay_ms: float = _row(
        5.0,
        Number(0, 60_000),
        "How long an idle device waits for requests that are in the server already before it "
        "runs a batch that is not full",
    )
    gpu_queue_maxsize: int = _row(
        4, Integer(1, 64), "Batches on their way to a device; at most two are formed ahead"
    )
    max_items_per_request: int = _row(4096, Integer(1, 1 << 20), "Maximum items in a request")
    max_request_bytes: int = _row(16 << 20, Size(1024, 1 << 30), "Maximum bytes of a request")
    max_item_bytes: int = _row(1 << 20, Size(16, 1 << 30), "Maximum bytes of one text")
    max_concurrent_requests: int = _row(
        1024, Integer(1, 1 << 20), "Maximum requests in the server at a time"
    )
    max_stream_requests: int = _row(
        256,
        Integer(1, 1 << 20),
        "Maximum requests in flight on one stream; no more is read of it until one is answered",
    )
    max_wait_time_s: float = _row(
        30.0,
        Number(0, 3600, above=True),
        "Deadline of a call that brings none of its own, and of each request of a stream",
    )
    backpressure_throughput_enabled: bool = _row(
        True, Flag(), "Refuse by the predicted time to drain the queue"
    )
    backpressure_max_drain_ms: float = _row(
        2000.0, Number(0, 3_600_000, above=True), "Throughput strategy: longest predicted drain"
    )
    backpressure_max_queued_tokens: int = _row(
        131072, Integer(1, 1 << 30), "Throughput strategy: most tokens queued"
    )
    backpressure_ema_alpha: float = _row(
        0.3,
        Number(0, 1, above=True),
        "Weight of the newest full batch in what is known of the device's speed",
    )
    backpressure_latency_enabled: bool = _row(False, Flag(), "Refuse by the P95 latency seen")
    backpressure_latency_window_s: float = _row(
        1.0, Number(0, 3600, above=True), "Latency strategy: length of the sliding window"
    )
    backpressure_soft_p95_ms: float = _row(
        100.0, Number(0, 3_600_000, above=True), "Latency strategy: above it a share is refused"
    )
    backpressure_hard_p95_ms: float = _row(
        200.0, Number(0, 3_600_000, above=True), "Latency strategy: above it all is refused"
    )
    backpressure_shed_share: float = _row(
        0.25, Number(0, 1), "Latency strategy: the share refused between soft and hard"
    )
    backpressure_min_samples: int = _row(
        20, Integer(1, 1 << 20), "Latency strategy: answers in the window before it judges"
    )
    shutdown_hold_s: float = _row(
        0.0,
        Number(0, 3600),
        "How long everything is still served after SIGTERM, while health says that the end has "
        "come: longer than balancers take to notice",
    )
    shutdown_grace_s: float = _row(
        30.0, Number(0, 3600), "How long requests may finish after SIGTERM and the hold"
    )
    hang_timeout_s: float = _row(
        30.0, Number(0, 3600, above=True), "A device silent for so long with work counts as hung"
    )
    restarts_max: int = _row(5, Integer(0, 1000), "Crashes of a stage that are mended by a restart")
    restarts_window_s: float = _row(
        60.0, Number(0, 86_400, above=True), "The time in which RESTARTS_MAX are counted"
    )
    trace_file: str = _row(
        "", Text("a file"), "Write a stage trace here (Chrome trace events, opens in Perfetto)"
    )
    otel_exporter_otlp_endpoint: str = _row(
        "",
        Text("an address such as http://localhost:4317", r"(https?://[^\s/]+/?)?"),
        "OpenTelemetry collector (OTLP over gRPC) that gets a trace of the requests; needs the "
        "otel extra; unset: none",
    )
    otel_service_name: str = _row("penstock", Text("a name", r".+"), "Service name in those traces")
    otel_traces_sampler_arg: float = _row(
        1.0,
        Number(0, 1),
        "Share of the requests that are traced where their caller does not say by `traceparent`",
    )
    log_format: str = _row("console", Choice(("console", "json")), "How log lines look")
    log_level: str = _row(
        "info", Choice(("debug", "info", "warning", "error")), "Least level that is logged"
    )
    metrics_enabled: bool = _row(
        True, Flag(), "Ship metrics to CloudWatch where the cloudwatch extra and credentials are"
    )
    metrics_namespace: str = _row(
        "GPUInference",
        Text("1 to 255 of A-Z a-z 0-9 . - _ / # :", r"[\w.\-/#:]{1,255}"),
        "CloudWatch namespace",
    )
    metrics_region: str = _row(
        "", Text("an AWS region", r"[a-z0-9-]*"), "CloudWatch region; unset: what AWS's tools use"
    )
    null_dimension: int = _row(
        384, Integer(1, 65536), "Dimension of the vectors that DEVICE=null answers"
    )
