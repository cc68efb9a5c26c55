"""Certificates for tests: authorities of their own, files on disk, and contexts for clients."""

import ssl
from pathlib import Path

import trustme
from attrs import define, field

from pipeline.security.tls import Tls, TlsFiles


@define(eq=False)
class Certificates:
    """A server's files under ``folder``, with the authorities that signed for each side."""

    folder: Path
    authority: trustme.CA = field(factory=trustme.CA)
    clients: trustme.CA = field(factory=trustme.CA)

    def __attrs_post_init__(self):
        self.issue()
        self.clients.cert_pem.write_to_path(self.client_ca)

    @property
    def certificate(self):
        return self.folder / "server.pem"

    @property
    def key(self):
        return self.folder / "server.key"

    @property
    def client_ca(self):
        return self.folder / "clients.pem"

    def issue(self, authority=None):
        """A new certificate and key in place of the old; by ``authority``, or by ours."""
        issued = (authority or self.authority).issue_cert("127.0.0.1", "localhost")
        issued.cert_chain_pems[0].write_to_path(self.certificate)
        issued.private_key_pem.write_to_path(self.key)

    def tls(self, *, mutual=False):
        return Tls(TlsFiles(self.certificate, self.key, self.client_ca if mutual else None))

    def settings(self, *, mutual=False):
        """The environment of a server that uses them."""
        given = {"TLS_CERT_FILE": str(self.certificate), "TLS_KEY_FILE": str(self.key)}
        return given | ({"TLS_CLIENT_CA_FILE": str(self.client_ca)} if mutual else {})

    def trusting(self, *, trust=None, show=None):
        """A client's context that trusts ``trust`` (ours) and shows a certificate by ``show``."""
        context = ssl.create_default_context()
        (trust or self.authority).configure_trust(context)
        if show is not None:
            show.issue_cert("client@example.org").configure_cert(context)
        return context

    def root_pem(self):
        """The authority, as grpcio wants it."""
        return self.authority.cert_pem.bytes()

    def client_pair(self, authority=None):
        """A client's key and certificate, as grpcio wants them."""
        issued = (authority or self.clients).issue_cert("client@example.org")
        return issued.private_key_pem.bytes(), issued.cert_chain_pems[0].bytes()
