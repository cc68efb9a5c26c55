"""A flood over HTTP of requests that are refused for want of room stays at the door."""

import pytest
from frontend_fakes import FakeBoard, FakeFrontend, answer_to
from http_fakes import running_http

from pipeline.overload import refusal_cache
from stages.errors import Overloaded

HOURS_S = 3600.0
FULL = Overloaded("full", reason="drain_time", retry_after_s=HOURS_S)


@pytest.mark.parametrize(
    ("path", "first", "second", "small"),
    [
        ("/v1/embeddings", {"input": ["a"] * 9}, {"input": ["a"] * 10}, {"input": ["a"]}),
        ("/embed", {"inputs": ["a"] * 9}, {"inputs": ["a"] * 10}, {"inputs": ["a"]}),
    ],
)
async def test_a_request_like_one_just_refused_goes_no_further(
    monkeypatch, path, first, second, small
):
    monkeypatch.setattr(refusal_cache, "LONGEST_S", HOURS_S)
    frontend = FakeFrontend(
        answer=lambda request: FULL if request.items > 1 else answer_to(request)
    )
    async with running_http(frontend, FakeBoard()) as http:
        for document in (first, second):
            reply = await http.post(path, document)
            assert reply.status_code == 429
            assert float(reply.headers["retry-after"]) > 3000
        assert (await http.post(path, small)).status_code == 200
        assert [request.items for request, _ in frontend.submitted] == [9, 1]
        assert http.refused("unavailable") == 1  # what was handed in is counted by others


async def test_a_bulk_request_speaks_for_no_interactive_one(monkeypatch):
    monkeypatch.setattr(refusal_cache, "LONGEST_S", HOURS_S)
    async with running_http(FakeFrontend(answer=lambda _: FULL), FakeBoard()) as http:
        for priority in ("bulk", "interactive", "interactive"):
            await http.post("/v1/embeddings", {"input": "a", "priority": priority})
        assert len(http.frontend.submitted) == 2
