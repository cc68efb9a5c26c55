"""Which settings contradict each other."""

from collections.abc import Iterator

from pipeline.settings.table import Settings


def conflicts(settings: Settings) -> Iterator[tuple[str, str, str]]:
    """Pairs of values that contradict each other: (field, other field, what is wrong)."""
    if settings.min_item_delay_ms > settings.deadline_wait_ms:
        yield "min_item_delay_ms", "deadline_wait_ms", "must not be above"
    if settings.backpressure_soft_p95_ms >= settings.backpressure_hard_p95_ms:
        yield "backpressure_soft_p95_ms", "backpressure_hard_p95_ms", "must be below"
    if settings.max_item_bytes > settings.max_request_bytes:
        yield "max_item_bytes", "max_request_bytes", "must not be above"
    same_host = settings.grpc_host == settings.http_host
    if same_host and settings.grpc_port == settings.http_health_port != 0:
        yield "http_health_port", "grpc_port", "must differ from"
    if len(settings.device_cpus) not in {0, 1, len(settings.device)}:
        yield "device_cpus", "device", "must be one set of cores, or as many as there are in"
    yield from _security_conflicts(settings)
    if settings.attention == "flash_attention_2":
        if {"cpu", "null"} & set(settings.device):
            yield "attention", "device", "needs CUDA, which is ruled out by"
        if settings.dtype == "float32":
            yield "attention", "dtype", "needs float16 or bfloat16, which is ruled out by"


def _security_conflicts(settings: Settings) -> Iterator[tuple[str, str, str]]:
    if bool(settings.tls_cert_file) != bool(settings.tls_key_file):
        yield "tls_cert_file", "tls_key_file", "needs, and is needed by,"
    if settings.tls_client_ca_file and not settings.tls_cert_file:
        yield "tls_client_ca_file", "tls_cert_file", "needs"
