"""TLS and API keys on the gRPC port, as grpcio and a raw client meet them."""

import gc
import socket
from contextlib import contextmanager

import grpc
import pytest
import trustme
from certificates import Certificates
from edge_fakes import FakeBoard, FakeFrontend, running_edge
from grpclib.health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpclib.reflection.v1.reflection_pb2 import ServerReflectionRequest
from penstock.compat.gpu_inference_pb2 import HealthRequest, HealthResponse
from penstock.v1.embedding_pb2 import EmbedRequest, EmbedResponse, InfoRequest, InfoResponse
from raw_client import framed, raw_client
from rpc import EMBED, HEALTH_CHECK, INFO, method, refused

from pipeline.grpc.limits import EdgeLimits
from pipeline.security.access import Access, keys_of
from pipeline.security.key_ring import make_key

HEALTH = "/grpc.health.v1.Health/Check"
REFLECTION = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
KEY, LINE = make_key("alice")
OTHER_KEY, OTHER_LINE = make_key("bob")
REQUEST = EmbedRequest(texts=["some text"])
OK, UNAUTHENTICATED = 0, 16


@pytest.fixture
def pki(tmp_path):
    return Certificates(tmp_path)


@pytest.fixture
def keys(tmp_path):
    path = tmp_path / "keys"
    path.write_text(f"{LINE}\n")
    return keys_of(path)


@contextmanager
def secure_channel(edge, pki, *, root=None, pair=(None, None)):
    key, chain = pair
    credentials = grpc.ssl_channel_credentials(root or pki.root_pem(), key, chain)
    with grpc.secure_channel(edge.target, credentials) as channel:
        yield channel


def embed(channel, key=None):
    metadata = [("authorization", f"Bearer {key}")] if key else None
    return method(channel, EMBED, EmbedResponse)(REQUEST, metadata=metadata, timeout=20)


def is_refused(channel):
    error = refused(method(channel, EMBED, EmbedResponse), REQUEST, timeout=20)
    return error.code() is grpc.StatusCode.UNAVAILABLE


def test_a_call_over_tls_is_answered(pki):
    with running_edge(tls=pki.tls().grpc) as edge, secure_channel(edge, pki) as channel:
        assert embed(channel).count == 1


def test_with_tls_plain_text_is_not_spoken(pki):
    with running_edge(tls=pki.tls().grpc) as edge:
        with grpc.insecure_channel(edge.target) as channel:
            assert is_refused(channel)
        with secure_channel(edge, pki) as channel:
            assert embed(channel).count == 1


def test_handshakes_that_are_not_finished_count_as_connections(pki):
    limits = EdgeLimits(max_connections=1)
    with running_edge(tls=pki.tls().grpc, limits=limits) as edge:
        address, context = ("127.0.0.1", edge.port), pki.trusting()
        context.set_alpn_protocols(["h2"])
        with (
            socket.create_connection(address),
            socket.create_connection(address) as second,
            context.wrap_socket(second, server_hostname="127.0.0.1") as surplus,
        ):
            assert not surplus.recv(1 << 16)
        edge.wait_until(lambda: gc.collect() >= 0 and not edge.server._listener._expected)
        with secure_channel(edge, pki) as channel:
            assert embed(channel).count == 1


def test_a_client_that_is_to_show_a_certificate_is_answered_only_with_one(pki):
    with running_edge(tls=pki.tls(mutual=True).grpc) as edge:
        with secure_channel(edge, pki) as stranger:
            assert is_refused(stranger)
        with secure_channel(edge, pki, pair=pki.client_pair(trustme.CA())) as impostor:
            assert is_refused(impostor)
        with secure_channel(edge, pki, pair=pki.client_pair()) as known:
            assert embed(known).count == 1


def test_a_new_certificate_is_shown_to_new_connections_and_old_ones_go_on(pki):
    tls, other = pki.tls(), trustme.CA()
    with running_edge(tls=tls.grpc) as edge, secure_channel(edge, pki) as channel:
        assert embed(channel).count == 1
        pki.issue(other)
        tls.files.renew()
        with secure_channel(edge, pki, root=other.cert_pem.bytes()) as later:
            assert embed(later).count == 1
        assert embed(channel).count == 1


def test_a_drain_over_tls_finishes_what_is_in_flight(pki):
    frontend = FakeFrontend(hold=True)
    with running_edge(frontend, tls=pki.tls().grpc) as edge, secure_channel(edge, pki) as channel:
        call = method(channel, EMBED, EmbedResponse).future(REQUEST, timeout=20)
        frontend.wait_for(lambda frontend: frontend.held)

        async def let_go_and_drain():
            frontend.let_go()
            await edge.server.drain()

        edge.in_trio(let_go_and_drain)
        assert call.result().count == 1


def test_the_caller_with_a_key_is_the_tenant(keys):
    frontend = FakeFrontend()
    with (
        running_edge(frontend, access=Access(keys)) as edge,
        grpc.insecure_channel(edge.target) as channel,
    ):
        assert embed(channel, KEY).count == 1
        call = method(channel, EMBED, EmbedResponse)
        assert call(REQUEST, metadata=[("x-api-key", KEY)], timeout=20).count == 1
    assert [request.tenant for request, _ in frontend.submitted] == ["alice", "alice"]


def test_without_keys_there_is_no_tenant():
    frontend = FakeFrontend()
    with running_edge(frontend) as edge, grpc.insecure_channel(edge.target) as channel:
        embed(channel, KEY)
    assert frontend.submitted[0][0].tenant == ""


def test_a_trusted_header_names_the_caller():
    frontend = FakeFrontend()
    with (
        running_edge(frontend, access=Access(header="x-tenant")) as edge,
        grpc.insecure_channel(edge.target) as channel,
    ):
        call = method(channel, EMBED, EmbedResponse)
        assert call(REQUEST, metadata=[("x-tenant", "bob")], timeout=20).count == 1
        error = refused(call, REQUEST, metadata=[("x-tenant", "not a name")], timeout=20)
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert error.details().startswith("x-tenant: must be 1 to 64 of")
    assert [request.tenant for request, _ in frontend.submitted] == ["bob"]


@pytest.mark.parametrize(
    "metadata", [None, [("authorization", "Bearer wrong")], [("x-api-key", OTHER_KEY)]]
)
def test_without_a_valid_key_a_call_is_refused_without_hints(keys, metadata):
    frontend, heard = FakeFrontend(), []
    with (
        running_edge(frontend, access=Access(keys), on_refused=heard.append) as edge,
        grpc.insecure_channel(edge.target) as channel,
    ):
        call = method(channel, EMBED, EmbedResponse)
        error = refused(call, REQUEST, metadata=metadata, timeout=20)
        assert error.code() is grpc.StatusCode.UNAUTHENTICATED
        assert error.details() == "a valid API key is needed, as in authorization: Bearer KEY"
        info = refused(method(channel, INFO, InfoResponse), InfoRequest(), timeout=20)
        assert info.code() is grpc.StatusCode.UNAUTHENTICATED
    assert [error.code for error in heard] == ["UNAUTHENTICATED"]  # work is counted
    assert not frontend.submitted


def test_the_key_is_looked_at_before_the_body_is_read(keys):
    with running_edge(access=Access(keys)) as edge, raw_client(edge.port) as client:
        stream = client.open(end=False)  # the body never comes
        assert client.result(stream) == UNAUTHENTICATED


def test_keys_are_read_anew(keys, tmp_path):
    with (
        running_edge(access=Access(keys)) as edge,
        grpc.insecure_channel(edge.target) as channel,
    ):
        assert embed(channel, KEY).count == 1
        (tmp_path / "keys").write_text(f"# the next\n{OTHER_LINE}\n")
        keys.renew()
        assert embed(channel, OTHER_KEY).count == 1
        call = method(channel, EMBED, EmbedResponse)
        error = refused(call, REQUEST, metadata=[("x-api-key", KEY)], timeout=20)
        assert error.code() is grpc.StatusCode.UNAUTHENTICATED


def test_health_needs_no_key(keys):
    with (
        running_edge(access=Access(keys)) as edge,
        grpc.insecure_channel(edge.target) as channel,
    ):
        check = method(channel, HEALTH, HealthCheckResponse)
        assert check(HealthCheckRequest(), timeout=20).status == HealthCheckResponse.SERVING
        seed = method(channel, HEALTH_CHECK, HealthResponse)
        assert seed(HealthRequest(), timeout=20).accepting_requests


def test_reflection_needs_a_key(keys):
    body = framed(ServerReflectionRequest(list_services=""))
    with (
        running_edge(FakeFrontend(), FakeBoard(), access=Access(keys), reflection=True) as edge,
        raw_client(edge.port) as client,
    ):
        assert client.result(client.open(REFLECTION, body)) == UNAUTHENTICATED
        key = [("authorization", f"Bearer {KEY}")]
        assert client.result(client.open(REFLECTION, body, extra=key)) == OK
