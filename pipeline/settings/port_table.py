"""The settings of the two ports; see :mod:`pipeline.settings.table`."""

from attrs import frozen

from pipeline.settings.field import setting
from pipeline.settings.kinds import Flag, Integer, Number, Size, Text, Words
from pipeline.settings.model_table import ModelSettings

PORT = Integer(0, 65535)
HOST = Text("an address or a host name", r"[\w.:%-]+")
ORIGINS = Words("origins", r"\*|https?://[\w.:\[\]-]+")


@frozen
class PortSettings(ModelSettings):
    """Where the server listens, to whom, and what one connection may cost."""

    grpc_host: str = setting("127.0.0.1", HOST, "gRPC listen address")
    grpc_port: int = setting(50051, PORT, "gRPC listen port; 0: any free one")
    grpc_reflection: bool = setting(False, Flag(), "Offer gRPC server reflection")
    http_host: str = setting("127.0.0.1", HOST, "HTTP listen address")
    http_health_port: int = setting(8001, PORT, "HTTP health and metrics port; 0: any free one")
    cors_origins: tuple[str, ...] = setting(
        (),
        ORIGINS,
        "Web pages of these origins, such as `https://example.org`, may call over HTTP; `*`: all",
    )
    stall_timeout_s: float = setting(
        10.0,
        Number(0, 3600, above=True),
        "A client that for this long neither sends the rest of its request nor reads its answer "
        "is given up",
    )
    tls_cert_file: str = setting(
        "",
        Text("a file"),
        "Certificate chain (PEM) with which both ports speak TLS; reloaded when it changes",
    )
    tls_key_file: str = setting("", Text("a file"), "The certificate's private key (PEM)")
    tls_client_ca_file: str = setting(
        "",
        Text("a file"),
        "Clients must show a certificate that one of these authorities (PEM) has signed; HTTP's "
        "health and metrics routes stay open",
    )
    api_keys_file: str = setting(
        "",
        Text("a file"),
        "Callers must send a key that this file lists, as `penstock key` makes them; reloaded "
        "when it changes",
    )
    max_connections: int = setting(
        4096,
        Integer(1, 1 << 20),
        "Maximum connections on each of the two ports; one above it is closed at once, on HTTP "
        "an idle one instead if there is one",
    )
    max_streams_per_connection: int = setting(
        0,
        Integer(0, 1 << 20),
        "Maximum calls at a time on one gRPC connection; 0: 64 more than MAX_CONCURRENT_REQUESTS",
    )
    max_metadata_bytes: int = setting(
        16 << 10,
        Size(1024, 1 << 20),
        "Maximum bytes of a gRPC call's metadata, with 32 more for each field; announced to "
        "clients",
    )
    max_held_bytes: int = setting(
        24 << 20,
        Size(1 << 16, 1 << 36),
        "Bytes of requests in flight and of their answers that one gRPC connection may hold; "
        "calls beyond it are refused, but never a connection's only one",
    )
    max_total_held_bytes: int = setting(
        256 << 20,
        Size(1 << 20, 1 << 40),
        "Bytes that both ports together may hold: of requests from their arrival until the answer "
        "has gone out, and of answers over gRPC; calls beyond it are refused, but never the only "
        "one, nor for a call's first 64 KiB",
    )
    control_frames_per_s: float = setting(
        500.0,
        Number(0, 1e9, above=True),
        "Control frames (PING, SETTINGS, PRIORITY, resets without answers) that one gRPC "
        "connection may send per second; a flood ends it",
    )
    control_frames_burst: int = setting(
        2000, Integer(100, 1 << 30), "How many of them it may send at once, before the rate counts"
    )
    keepalive_s: float = setting(
        300.0,
        Number(0, 86_400),
        "A gRPC connection silent for this long is sent a PING, and closed when nothing comes "
        "back; 0: never",
    )
    max_connection_age_s: float = setting(
        0.0,
        Number(0, 86_400 * 365),
        "A gRPC connection is ended after this time, without losing calls, so that clients that "
        "balance by DNS find new replicas; 0: never",
    )
    max_connection_age_jitter: float = setting(
        0.1, Number(0, 1), "The share by which that age varies between connections"
    )
    max_connection_age_grace_s: float = setting(
        30.0, Number(0, 86_400), "How long the calls of such a connection may still finish"
    )
