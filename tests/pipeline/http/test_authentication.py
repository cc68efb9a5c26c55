"""Who may call over HTTP: keys on every route but the open ones, and CORS by setting."""

import pytest
from http_fakes import running_http

from pipeline.security.access import Access, keys_of
from pipeline.security.key_ring import make_key

OPEN = ["/health", "/ping", "/livez", "/readyz", "/metrics"]
CLOSED = ["/v1/models", "/info", "/", "/nothing"]
ORIGIN = "https://example.org"


@pytest.fixture
async def key(tmp_path):
    key, line = make_key("team-a")
    (tmp_path / "keys").write_text(line)
    return key


@pytest.fixture
async def http(key, tmp_path):
    async with running_http(access=Access(keys_of(tmp_path / "keys"))) as running:
        yield running


@pytest.mark.parametrize("path", OPEN)
async def test_probes_are_open(http, path):
    assert (await http.get(path)).status_code == 200


@pytest.mark.parametrize("path", CLOSED)
async def test_every_other_path_needs_a_key(http, key, path):
    for headers in ({}, {"authorization": "Bearer wrong"}, {"x-api-key": key + "x"}):
        reply = await http.get(path, **headers)
        assert reply.status_code == 401
        assert reply.headers["www-authenticate"].startswith("Bearer")
    assert (await http.get(path, authorization=f"Bearer {key}")).status_code != 401


async def test_a_key_comes_in_either_header_and_is_the_tenant(http, key):
    for headers in ({"authorization": f"Bearer {key}"}, {"x-api-key": key}):
        reply = await http.post("/v1/embeddings", {"input": "a"}, headers=headers)
        assert reply.status_code == 200
        assert http.frontend.submitted[-1][0].tenant == "team-a"


async def test_the_refusal_is_in_the_style_of_the_route(http):
    openai = (await http.post("/v1/embeddings", {"input": "a"})).json()["error"]
    assert (openai["type"], openai["code"]) == ("invalid_request_error", "invalid_api_key")
    assert (await http.post("/embed", {"inputs": "a"})).json()["error_type"] == "Unauthenticated"
    assert http.frontend.submitted == []
    assert http.refused("unauthenticated") == 2


async def test_the_body_of_a_stranger_is_not_read(http):
    reply = await http.post("/v1/embeddings", content=b"x" * (8 << 20))
    assert reply.status_code == 401


async def test_pages_of_other_origins_may_call_where_that_is_set():
    asks = {"origin": ORIGIN, "access-control-request-method": "POST"}
    asks["access-control-request-headers"] = "authorization,x-stainless-lang"
    async with running_http(cors_origins=(ORIGIN,)) as http:
        allowed = (await http.client.options("/v1/embeddings", headers=asks)).headers
        assert allowed["access-control-allow-origin"] == ORIGIN
        assert "POST" in allowed["access-control-allow-methods"]
        assert "x-stainless-lang" in allowed["access-control-allow-headers"]
        for document, status in (({"input": "a"}, 200), ({}, 400)):
            reply = await http.post("/v1/embeddings", document, headers={"origin": ORIGIN})
            assert reply.status_code == status
            assert reply.headers["access-control-allow-origin"] == ORIGIN
        assert "x-request-id" in reply.headers["access-control-expose-headers"]
        other = await http.client.options("/v1/embeddings", headers=asks | {"origin": "https://x"})
        assert other.status_code == 400
        assert "access-control-allow-origin" not in other.headers


async def test_a_page_asks_first_without_its_key(key, tmp_path):
    access = Access(keys_of(tmp_path / "keys"))
    async with running_http(access=access, cors_origins=("*",)) as http:
        asks = {"origin": ORIGIN, "access-control-request-method": "POST"}
        reply = await http.client.options("/v1/embeddings", headers=asks)
        assert (reply.status_code, reply.headers["access-control-allow-origin"]) == (200, "*")
        refused = await http.post("/v1/embeddings", {}, headers={"origin": ORIGIN})
        assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, "*")


async def test_without_the_setting_no_page_may():
    async with running_http() as http:
        reply = await http.post("/v1/embeddings", {"input": "a"}, headers={"origin": ORIGIN})
        assert "access-control-allow-origin" not in reply.headers


async def test_a_trusted_header_names_the_caller():
    async with running_http(access=Access(header="x-tenant")) as http:
        reply = await http.post("/v1/embeddings", {"input": "a"}, headers={"X-Tenant": "bob"})
        assert reply.status_code == 200
        assert http.frontend.submitted[-1][0].tenant == "bob"
        reply = await http.post("/v1/embeddings", {"input": "a"}, headers={"X-Tenant": "a b"})
        assert reply.status_code == 400
