"""The OpenAPI document holds: for every route, and against the application itself."""

import threading
from contextlib import contextmanager, suppress

import httpx
import jsonschema
import pytest
import schemathesis
import trio
from attrs import evolve
from frontend_fakes import LIMITS, MODEL, FakeBoard, FakeFrontend, answer_by_output
from http_fakes import running_http
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi import checks

from pipeline.http.openapi.document import document as document_of
from stages.requests.output import Output

CHECKS = (
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
    checks.negative_data_rejection,
    checks.positive_data_acceptance,
)
ENDLESS = "/live"
REFUSALS = {"expected-statuses": ["400", "413", "415", "422"]}  # of what breaks the schema
CONFIG = SchemathesisConfig.from_dict({"checks": {"negative_data_rejection": REFUSALS}})
EMBEDDER = evolve(MODEL, outputs=(Output.POOLED, Output.TOKENS, Output.SPARSE))
RERANKER = evolve(MODEL, outputs=(Output.SCORES,), labels=("relevant",))
SCORED = {"/rerank", "/predict"}


def operations(model, wanted):
    document = document_of(model, LIMITS, "1")
    schema = schemathesis.openapi.from_dict(document, config=CONFIG)
    found = [result.ok() for result in schema.get_all_operations()]
    return [(model, operation) for operation in found if wanted(operation.path)]


OPERATIONS = [
    *operations(EMBEDDER, lambda path: path not in SCORED | {ENDLESS}),
    *operations(RERANKER, lambda path: path in SCORED | {"/"}),
]


@contextmanager
def serving(model):
    """The address of a server in a thread of its own, for clients that are not of Trio."""
    ready, found = threading.Event(), []

    async def main():
        async with running_http(FakeFrontend(answer_by_output), FakeBoard(model=model)) as http:
            found.extend((http, trio.lowlevel.current_trio_token(), stop := trio.Event()))
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=trio.run, args=(main,))
    thread.start()
    assert ready.wait(20)
    http, token, stop = found
    yield f"http://127.0.0.1:{http.port}"
    with suppress(trio.RunFinishedError):
        token.run_sync_soon(stop.set)
    thread.join(20)


@pytest.fixture(scope="module")
def bases():
    with serving(EMBEDDER) as embedder, serving(RERANKER) as reranker:
        yield {EMBEDDER.outputs: embedder, RERANKER.outputs: reranker}


@pytest.fixture(scope="module")
def base(bases):
    return bases[EMBEDDER.outputs]


@pytest.fixture(scope="module")
def document(base):
    return httpx.get(base + "/openapi.json").json()


def served(base):
    """The paths that the server says it has."""
    message = httpx.get(base + "/nothing").json()["error"]
    return set(message.partition("the paths are ")[2].split(", "))


def test_every_route_is_in_it_and_no_other(base, document):
    assert set(document["paths"]) == served(base)
    for path, calls in document["paths"].items():
        allowed = httpx.request("OPTIONS", base + path).headers["allow"]
        listed = {method.upper() for method in calls}
        assert listed & set(allowed.split(", ")), path
        for method in {"GET", "POST"} - listed:
            assert httpx.request(method, base + path).status_code == 405, (method, path)


def test_it_is_openapi(document):
    assert document["openapi"] == "3.1.0"
    for shape in document["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(shape)


def test_the_limits_are_those_in_force(document):
    items = document["components"]["schemas"]["EmbeddingsRequest"]["properties"]["input"]["anyOf"]
    assert items[2]["items"]["maximum"] == MODEL.vocabulary - 1
    assert document["components"]["schemas"]["Prompt"]["enum"] == ["", "passage", "query", None]


async def test_it_is_there_while_the_model_loads():
    async with running_http(FakeFrontend(), FakeBoard(model=None)) as http:
        assert (await http.get("/openapi.json")).json()["paths"]


async def test_the_page_needs_no_other_host():
    async with running_http() as http:
        page = await http.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "http://" not in page.text
    assert "https://" not in page.text


@pytest.mark.parametrize("mode", GenerationMode)
@pytest.mark.parametrize(
    ("model", "operation"), OPERATIONS, ids=lambda found: getattr(found, "label", "")
)
def test_the_application_does_what_it_says(model, operation, mode, bases):
    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(
        max_examples=30,
        derandomize=True,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    def holds(case):
        case.call_and_validate(base_url=bases[model.outputs], checks=CHECKS, timeout=30)

    with suppress(Unsatisfiable):  # what takes nothing cannot be called wrongly
        holds()
