"""A protected server, as its users and their probes meet it."""

import grpc
import httpx
import pytest
from certificates import Certificates
from penstock.client import Client, ClientError, tls_context
from penstock.v1.embedding_pb2 import EmbedRequest
from server_processes import Client as PlainClient
from server_processes import penstock, serving

from pipeline.security.key_ring import make_key

KEY, LINE = make_key("alice")


@pytest.fixture
def pki(tmp_path):
    return Certificates(tmp_path)


@pytest.fixture
def server(tmp_path, pki):
    (tmp_path / "keys").write_text(f"{LINE}\n")
    settings = pki.settings(mutual=True) | {"API_KEYS_FILE": str(tmp_path / "keys")}
    with serving(tmp_path / "log", DEVICE="null", **settings) as server:
        yield server


def test_a_call_needs_certificate_and_key_and_a_probe_needs_neither(server, pki):
    credentials = grpc.ssl_channel_credentials(pki.root_pem(), *pki.client_pair())
    with grpc.secure_channel(server.grpc, credentials) as channel:
        method = PlainClient(channel).embed_method()
        key = [("authorization", f"Bearer {KEY}")]
        assert method(EmbedRequest(texts=["some text"]), metadata=key, timeout=60).count == 1
        with pytest.raises(grpc.RpcError, match="a valid API key is needed"):
            method(EmbedRequest(texts=["some text"]), timeout=60)
    for path in ("/health", "/livez", "/readyz", "/metrics"):
        page = httpx.get(server.http + path, verify=pki.trusting())
        assert page.status_code == 200
    stranger, known = pki.trusting(), pki.trusting(show=pki.clients)
    with_key = {"authorization": f"Bearer {KEY}"}
    for context, headers, status in (
        (stranger, {}, 401),
        (stranger, with_key, 401),
        (known, {}, 401),
        (known, with_key, 200),
    ):
        with httpx.Client(base_url=server.http, verify=context) as client:
            page = client.post("/v1/embeddings", json={"input": "a"}, headers=headers)
        assert page.status_code == status
    assert "callers need TLS and an API key" in server.ready_lines[0]
    server.signal()
    assert server.exit_code() == 0
    assert KEY not in server.log.read_text()


def test_the_command_speaks_tls_and_shows_its_key(tmp_path, pki):
    (tmp_path / "keys").write_text(f"{LINE}\n")
    root = tmp_path / "root.pem"
    root.write_bytes(pki.root_pem())
    settings = pki.settings() | {"API_KEYS_FILE": str(tmp_path / "keys")}
    with serving(tmp_path / "log", DEVICE="null", **settings) as server:
        command = ["embed", "--target", server.grpc, "some text"]
        answered = penstock(*command, "--ca-file", str(root), PENSTOCK_API_KEY=KEY)
        keyless = penstock(*command, "--ca-file", str(root))
        stranger = penstock(*command, "--tls", PENSTOCK_API_KEY=KEY)
    assert (answered.returncode, answered.stderr) == (0, "")
    assert (keyless.returncode, stranger.returncode) == (1, 1)
    assert "a valid API key is needed" in keyless.stderr
    assert "cannot reach a server" in stranger.stderr
    assert "its certificate cannot be trusted" in stranger.stderr
    assert KEY not in answered.stdout + keyless.stderr + stranger.stderr


def test_the_command_shows_a_certificate(tmp_path, pki):
    root, key, certificate = (tmp_path / name for name in ("root.pem", "mine.key", "mine.pem"))
    root.write_bytes(pki.root_pem())
    for path, pem in zip((key, certificate), pki.client_pair(), strict=True):
        path.write_bytes(pem)
    with serving(tmp_path / "log", DEVICE="null", **pki.settings(mutual=True)) as server:
        command = ["embed", "--target", server.grpc, "--ca-file", str(root), "some text"]
        known = penstock(*command, "--cert-file", str(certificate), "--key-file", str(key))
        with (
            Client(server.grpc, tls=tls_context(root), patience_s=0) as stranger,
            pytest.raises(ClientError),
        ):
            stranger.info()
    assert (known.returncode, known.stderr) == (0, "")
    keyless = penstock("info", "--target", "127.0.0.1:1", "--key-file", str(key))
    assert "--key-file: needs --cert-file" in keyless.stderr


def test_a_ca_file_that_cannot_be_read_is_said(tmp_path):
    done = penstock("info", "--target", "127.0.0.1:1", "--ca-file", str(tmp_path / "nothing"))
    assert done.returncode == 1
    assert "--ca-file" in done.stderr
    assert "No such file" in done.stderr
