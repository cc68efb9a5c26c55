"""What protects both ports, as the settings ask for it."""

import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import structlog
from attrs import frozen

from pipeline.process.addresses import is_loopback
from pipeline.security.access import Access, keys_of
from pipeline.security.errors import SecurityFileError
from pipeline.security.key_ring import KeyRing
from pipeline.security.tls import Tls, TlsFiles, is_certified
from pipeline.security.watched import Watched, keep_renewing
from pipeline.settings.table import SettingError, Settings

log = structlog.get_logger()


@frozen(eq=False)
class Security:
    """Keys, TLS, both or neither."""

    keys: Watched[KeyRing] | None
    tls: Tls | None
    tenant_header: str = ""

    @classmethod
    def read(cls, settings: Settings) -> "Security":
        """What ``settings`` ask for.

        Raises:
            SettingError: a file cannot be used.
        """
        keys_file = settings.api_keys_file
        try:
            keys = keys_of(Path(keys_file)) if keys_file else None
            return cls(keys, _tls(settings), settings.tenant_header)
        except SecurityFileError as error:
            raise SettingError(str(error)) from None

    @property
    def grpc_access(self) -> Access:
        """Who may call over gRPC: there the handshake requires the certificate, if any."""
        return Access(self.keys, header=self.tenant_header)

    @property
    def http_access(self) -> Access:
        """Who may call the closed routes of the HTTP port."""
        if self.asks_clients:
            return Access(self.keys, is_certified, self.tenant_header)
        return Access(self.keys, header=self.tenant_header)

    @property
    def grpc_tls(self) -> ssl.SSLContext | None:
        """What the gRPC port speaks; None: plain text."""
        return self.tls.grpc if self.tls is not None else None

    @property
    def http_tls(self) -> ssl.SSLContext | None:
        """What the HTTP port speaks; None: plain text."""
        return self.tls.http if self.tls is not None else None

    @property
    def asks_clients(self) -> bool:
        """Whether clients need a certificate."""
        return self.tls is not None and self.tls.asks_clients

    def warn_of(self, *hosts: str) -> None:
        """Log once when other machines reach a port without access control or encryption."""
        open_hosts = sorted({host for host in hosts if not is_loopback(host)})
        missing = ["TLS"] if self.tls is None else []
        if self.keys is None and not self.asks_clients:
            missing.append("API keys")
        if open_hosts and missing:
            log.warning(
                "others can reach this server, and it is not protected",
                hosts=",".join(open_hosts),
                missing=" and ".join(missing),
            )

    async def run(self) -> None:
        """Follow the files until cancelled."""
        await keep_renewing(list(self._watched()))

    def _watched(self) -> Iterator[Watched[Any]]:
        if self.keys is not None:
            yield self.keys
        if self.tls is not None:
            yield self.tls.files


def _tls(settings: Settings) -> Tls | None:
    if not settings.tls_cert_file:
        return None
    client_ca = settings.tls_client_ca_file
    return Tls(
        TlsFiles(
            Path(settings.tls_cert_file),
            Path(settings.tls_key_file),
            Path(client_ca) if client_ca else None,
        )
    )
