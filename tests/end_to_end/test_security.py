"""A protected server, as its users and their probes meet it."""

import grpc
import httpx
import pytest
from certificates import Certificates
from penstock.v1.embedding_pb2 import EmbedRequest
from server_processes import Client, serving

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
        method = Client(channel).embed_method()
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
