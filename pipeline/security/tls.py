"""TLS for both ports: contexts whose every handshake uses the newest files.

asyncio and Trio both start a handshake with ``SSLContext.wrap_bio``, so a context that
forwards this to the newest one is all that a reload takes: existing connections keep
theirs, a file that cannot be used never meets a handshake, and sessions from before are
not resumed, since the newest context has other ticket keys.

With a client CA the gRPC port requires every client to show a certificate that it signed.
The HTTP port cannot: probes and scrapers have none. There a certificate is checked if it
is shown, and :func:`is_certified` tells the routes behind it whether one was.
"""

import ssl
from collections.abc import Callable
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Final, Self

from attrs import frozen

from pipeline.security.errors import SecurityFileError
from pipeline.security.watched import Watched, read_text

CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"  # of TLS 1.2: what HTTP/2 does not forbid
GRPC_PROTOCOLS: Final = ("h2",)
HTTP_PROTOCOLS: Final = ("http/1.1",)
HANDSHAKE_S: Final = 10.0  # a client that takes longer is cut off

_certified: ContextVar[bool] = ContextVar("certified", default=False)


def is_certified() -> bool:
    """Whether the client of this HTTP request has shown a certificate that was accepted.

    For the task that serves the connection and the tasks that it started.
    """
    return _certified.get()


@frozen
class TlsFiles:
    """The files, all PEM. ``client_ca`` signs clients' certificates; None: none are asked for."""

    certificate: Path
    key: Path
    client_ca: Path | None = None

    @property
    def paths(self) -> tuple[Path, ...]:
        """All that are set."""
        return tuple(path for path in (self.certificate, self.key, self.client_ca) if path)


class Tls:
    """The contexts of both ports.

    Raises:
        SecurityFileError: the files cannot be used; the message names the setting.
    """

    def __init__(self, files: TlsFiles) -> None:
        self.asks_clients = files.client_ca is not None
        self.files = Watched("TLS_CERT_FILE", files.paths, lambda: _Contexts.read(files))
        self.grpc: ssl.SSLContext = _Newest(lambda: self.files.value.grpc)
        self.http: ssl.SSLContext = _Newest(lambda: self.files.value.http)


class _Newest(ssl.SSLContext):
    """Hands every handshake on to the newest context."""

    _newest: Callable[[], ssl.SSLContext]

    def __new__(cls, newest: Callable[[], ssl.SSLContext]) -> Self:
        self = super().__new__(cls, ssl.PROTOCOL_TLS_SERVER)
        self._newest = newest
        return self

    def wrap_bio(self, *args: Any, **options: Any) -> ssl.SSLObject:
        return self._newest().wrap_bio(*args, **options)


class _HttpHandshake(ssl.SSLObject):
    """Notes whether the client showed a certificate, in the task that serves it."""

    def do_handshake(self) -> None:
        super().do_handshake()
        _certified.set(self.getpeercert(binary_form=True) is not None)


@frozen
class _Contexts:
    """One for each port, of one reading of the files."""

    grpc: ssl.SSLContext
    http: ssl.SSLContext

    @classmethod
    def read(cls, files: TlsFiles) -> "_Contexts":
        grpc = _context(files, ssl.CERT_REQUIRED, GRPC_PROTOCOLS)
        http = _context(files, ssl.CERT_OPTIONAL, HTTP_PROTOCOLS)
        http.sslobject_class = _HttpHandshake
        return cls(grpc, http)


def _context(
    files: TlsFiles, of_clients: ssl.VerifyMode, protocols: tuple[str, ...]
) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(list(protocols))
    _load_pair(context, files)
    if files.client_ca is not None:
        context.verify_mode = of_clients
        _load_ca(context, files.client_ca, "TLS_CLIENT_CA_FILE")
    return context


def _load_pair(context: ssl.SSLContext, files: TlsFiles) -> None:
    for setting, path in (("TLS_CERT_FILE", files.certificate), ("TLS_KEY_FILE", files.key)):
        _read(path, setting)
    encrypted = False

    def no_password() -> str:  # or OpenSSL would ask whoever sits at the terminal
        nonlocal encrypted
        encrypted = True
        return ""

    try:
        context.load_cert_chain(files.certificate, files.key, no_password)
    except (ssl.SSLError, OSError) as error:
        if getattr(error, "reason", None) == "KEY_VALUES_MISMATCH":
            problem = f"TLS_KEY_FILE {files.key}: not the key of TLS_CERT_FILE {files.certificate}"
            raise SecurityFileError(problem) from None
        if encrypted:
            problem = f"TLS_KEY_FILE {files.key}: encrypted; only a key without a password is read"
            raise SecurityFileError(problem) from None
        _load_ca(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), files.certificate, "TLS_CERT_FILE")
        raise SecurityFileError(f"TLS_KEY_FILE {files.key}: no private key in PEM form") from None


def _load_ca(context: ssl.SSLContext, path: Path, setting: str) -> None:
    text = _read(path, setting)
    try:
        context.load_verify_locations(cadata=text)
    except (ssl.SSLError, ValueError):
        raise SecurityFileError(f"{setting} {path}: no certificate in PEM form") from None


def _read(path: Path, setting: str) -> str:
    try:
        return read_text(path)
    except SecurityFileError as error:
        raise SecurityFileError(f"{setting} {path}: {error}") from None
