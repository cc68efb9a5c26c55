"""Contexts by themselves: handshakes in memory, and files that cannot be used."""

import ssl

import pytest
import trustme
from certificates import Certificates
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from structlog.testing import capture_logs

from pipeline.security.errors import SecurityFileError


@pytest.fixture
def pki(tmp_path):
    return Certificates(tmp_path)


def handshake(server_context, client_context, session=None):
    """Both ends of a finished handshake; the error of whichever end refuses."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = server_context.wrap_bio(to_server, to_client, server_side=True)
    client = client_context.wrap_bio(
        to_client, to_server, server_hostname="127.0.0.1", session=session
    )
    unfinished = [client, server]
    while unfinished:
        for end in tuple(unfinished):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
            unfinished.remove(end)
    return server, client


def with_protocols(context, *names):
    context.set_alpn_protocols(names)
    return context


def test_each_port_speaks_its_protocols(pki):
    tls = pki.tls()
    offered = with_protocols(pki.trusting(), "http/1.1", "h2")
    assert handshake(tls.grpc, offered)[0].selected_alpn_protocol() == "h2"
    assert handshake(tls.http, offered)[0].selected_alpn_protocol() == "http/1.1"


def test_clients_need_a_certificate_by_the_authority_that_is_asked_for(pki):
    tls = pki.tls(mutual=True)
    handshake(tls.grpc, pki.trusting(show=pki.clients))
    with pytest.raises(ssl.SSLError, match="PEER_DID_NOT_RETURN_A_CERTIFICATE"):
        handshake(tls.grpc, pki.trusting())
    with pytest.raises(ssl.SSLError, match="CERTIFICATE_VERIFY_FAILED"):
        handshake(tls.grpc, pki.trusting(show=trustme.CA()))


def test_the_http_port_lets_clients_without_a_certificate_shake_hands(pki):
    tls = pki.tls(mutual=True)
    handshake(tls.http, pki.trusting())
    with pytest.raises(ssl.SSLError, match="CERTIFICATE_VERIFY_FAILED"):
        handshake(tls.http, pki.trusting(show=trustme.CA()))


def test_new_handshakes_use_the_new_certificate_and_old_connections_go_on(pki):
    tls, other = pki.tls(), trustme.CA()
    server, client = handshake(tls.grpc, pki.trusting())
    pki.issue(other)
    tls.files.renew()
    handshake(tls.grpc, pki.trusting(trust=other))
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(tls.grpc, pki.trusting())
    client.write(b"still here")
    assert server.read(10) == b"still here"


def test_a_session_of_before_does_not_spare_a_client_the_new_check(pki):
    tls, known = pki.tls(mutual=True), pki.trusting(show=pki.clients)
    server, client = handshake(tls.grpc, known)
    server.write(b"with a ticket")
    assert client.read(13) == b"with a ticket"
    again = handshake(tls.grpc, known, client.session)[1]
    assert again.session_reused
    trustme.CA().cert_pem.write_to_path(pki.client_ca)
    tls.files.renew()
    with pytest.raises(ssl.SSLError, match="CERTIFICATE_VERIFY_FAILED"):
        handshake(tls.grpc, known, client.session)


def test_a_new_client_authority_takes_the_place_of_the_old(pki):
    tls, other = pki.tls(mutual=True), trustme.CA()
    other.cert_pem.write_to_path(pki.client_ca)
    tls.files.renew()
    handshake(tls.grpc, pki.trusting(show=other))
    with pytest.raises(ssl.SSLError, match="CERTIFICATE_VERIFY_FAILED"):
        handshake(tls.grpc, pki.trusting(show=pki.clients))


@pytest.mark.parametrize("text", ["", "not a certificate", None])
def test_a_new_file_that_cannot_be_used_leaves_the_old_in_force(pki, text):
    tls = pki.tls()
    pki.certificate.unlink() if text is None else pki.certificate.write_text(text)
    with capture_logs() as lines:
        tls.files.renew()
    assert "TLS_CERT_FILE" in lines[0]["error"]
    handshake(tls.grpc, pki.trusting())


def test_a_key_that_follows_its_certificate_later_is_waited_for(pki):
    tls, other = pki.tls(), trustme.CA()
    issued = other.issue_cert("127.0.0.1")
    issued.cert_chain_pems[0].write_to_path(pki.certificate)
    with capture_logs() as lines:
        tls.files.renew()
    assert "not the key of" in lines[0]["error"]
    handshake(tls.grpc, pki.trusting())
    issued.private_key_pem.write_to_path(pki.key)
    tls.files.renew()
    handshake(tls.grpc, pki.trusting(trust=other))


def test_a_file_that_cannot_be_used_is_named_with_its_setting(pki):
    files = {"CERT": pki.certificate, "KEY": pki.key, "CLIENT_CA": pki.client_ca}
    for setting, path in files.items():
        whole = path.read_bytes()
        for spoil, needle in (
            (lambda path: path.unlink(), "No such file"),
            (lambda path: path.write_text("text"), "in PEM form"),
            (lambda path: path.write_bytes(b"\xff"), "not UTF-8"),
        ):
            spoil(path)
            with pytest.raises(SecurityFileError, match=f"^TLS_{setting}_FILE .*{needle}"):
                pki.tls(mutual=True)
        path.write_bytes(whole)


def test_a_key_of_another_certificate_is_refused(pki):
    trustme.CA().issue_cert("other").private_key_pem.write_to_path(pki.key)
    with pytest.raises(SecurityFileError, match=r"^TLS_KEY_FILE .*not the key of TLS_CERT_FILE"):
        pki.tls()


def test_a_key_with_a_password_is_refused_and_nobody_is_asked_for_it(pki):
    key = load_pem_private_key(pki.key.read_bytes(), None)
    secret = BestAvailableEncryption(b"secret")
    pki.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, secret))
    with pytest.raises(SecurityFileError, match=r"^TLS_KEY_FILE .*: encrypted"):
        pki.tls()
