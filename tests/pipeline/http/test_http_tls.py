"""The HTTP port over TLS: what probes without a certificate reach, and who is told apart."""

import httpx
import pytest
import trio
import trustme
from certificates import Certificates
from frontend_fakes import FakeBoard, FakeFrontend

from pipeline.http.server import HttpServer
from pipeline.observability.metrics import Metrics
from pipeline.security.tls import is_certified


@pytest.fixture
def pki(tmp_path):
    return Certificates(tmp_path)


def server_with(tls):
    return HttpServer(FakeFrontend(), FakeBoard(), Metrics(), port=0, tls=tls)


async def get(port, context, path="/readyz", **options):
    async with httpx.AsyncClient(verify=context, **options) as client:
        return await client.get(f"https://127.0.0.1:{port}{path}")


async def test_every_route_answers_over_tls(pki, nursery):
    port = await nursery.start(server_with(pki.tls().http).run)
    for path in ("/health", "/livez", "/readyz", "/metrics"):
        assert (await get(port, pki.trusting(), path)).status_code == 200


async def test_with_tls_plain_text_is_not_spoken(pki, nursery):
    port = await nursery.start(server_with(pki.tls().http).run)
    async with httpx.AsyncClient() as client:
        with pytest.raises(httpx.TransportError):
            await client.get(f"http://127.0.0.1:{port}/readyz")
    assert (await get(port, pki.trusting())).status_code == 200


async def test_a_probe_needs_no_certificate_where_clients_do(pki, nursery):
    port = await nursery.start(server_with(pki.tls(mutual=True).http).run)
    assert (await get(port, pki.trusting())).status_code == 200
    assert (await get(port, pki.trusting(show=pki.clients))).status_code == 200
    with pytest.raises(httpx.TransportError):
        await get(port, pki.trusting(show=trustme.CA()))


async def test_routes_know_who_has_shown_a_certificate(pki, nursery):
    seen = []

    async def app(scope, receive, send):
        assert scope["type"] == "http"  # Hypercorn goes on without the other kind
        seen.append(is_certified())
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    server = server_with(pki.tls(mutual=True).http)
    server._app = app
    port = await nursery.start(server.run)
    known, stranger = pki.trusting(show=pki.clients), pki.trusting()
    for context in (known, stranger, known):
        with trio.fail_after(20):
            await get(port, context)
    assert seen == [True, False, True]


async def test_a_new_certificate_is_shown_to_new_connections(pki, nursery):
    tls, other = pki.tls(), trustme.CA()
    port = await nursery.start(server_with(tls.http).run)
    pki.issue(other)
    tls.files.renew()
    assert (await get(port, pki.trusting(trust=other))).status_code == 200
    with pytest.raises(httpx.ConnectError):
        await get(port, pki.trusting())
