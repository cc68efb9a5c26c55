"""The document at ``/openapi.json``: every route, with the limits that are in force."""

from typing import Final

from pipeline.http.openapi.bounds import Bounds
from pipeline.http.openapi.schemas import schemas
from pipeline.http.openapi.shapes import Shape, ref, text
from pipeline.interface.status import ModelInfo, RequestLimits
from stages.requests.output import Output

OPENAI: Final = "OpenAI"
TEI: Final = "Text Embeddings Inference"
PROBES: Final = "Health and monitoring"
PAGES: Final = "Pages"
REASONS: Final = {
    400: "The request is wrong",
    401: "A valid API key is needed",
    404: "There is no such model",
    408: "The body did not come in time",
    413: "More than the limits allow",
    415: "The body's headers do not declare plain JSON",
    422: "A member of the request is wrong",
    424: "The device failed",
    429: "Overloaded: try again after `retry-after`",
    500: "A fault of the server's own",
    503: "Loading, draining or failed",
    504: "No answer in time",
}
OPENAI_ERRORS: Final = (400, 401, 408, 413, 415, 429, 500, 503, 504)
TEI_ERRORS: Final = (400, 401, 408, 413, 415, 422, 424, 429, 503, 504)


def document(model: ModelInfo | None, limits: RequestLimits, version: str) -> Shape:
    """The whole document."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Penstock",
            "version": version,
            "summary": "An embedding server: texts or token ids in, vectors out.",
            "license": {"name": "Apache 2.0", "identifier": "Apache-2.0"},
        },
        "paths": _paths(model),
        "components": {
            "schemas": schemas(Bounds.of(model, limits)),
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "header": {"type": "apiKey", "in": "header", "name": "x-api-key"},
            },
        },
        "security": [{}, {"bearer": []}, {"header": []}],
    }


def _paths(model: ModelInfo | None) -> Shape:
    embeddings = _work(OPENAI, "Embed texts or token ids", "Embeddings")
    return {
        "/v1/embeddings": {"post": embeddings},
        "/embeddings": {"post": {**embeddings, "tags": [TEI]}},
        "/v1/models": {
            "get": _read(OPENAI, "The model that is loaded", {200: "Models", 503: "OpenAIError"})
        },
        "/v1/models/{id}": {"get": _model()},
        "/embed": {"post": _work(TEI, "One vector per item", "Embed")},
        "/embed_all": {"post": _work(TEI, "One vector per token", "EmbedAll")},
        "/embed_sparse": {"post": _work(TEI, "Weights of tokens", "EmbedSparse")},
        "/rerank": {"post": _work(TEI, "How well texts answer a query, best first", "Rerank")},
        "/predict": {"post": _work(TEI, "The scores of labels, highest first", "Predict")},
        "/tokenize": {"post": _work(TEI, "The tokens of texts", "Tokenize")},
        "/decode": {"post": _work(TEI, "The texts of token ids", "Decode")},
        "/similarity": {"post": _work(TEI, "How similar sentences are to one", "Similarity")},
        "/": {
            "get": _page("The pipeline, as it works"),
            "post": _work(TEI, "What the loaded model is for", *_purpose(model)),
        },
        "/info": {
            "get": _read(TEI, "What is loaded, and its limits", {200: "Info", 503: "TeiError"})
        },
        "/live": {"get": _page("What the page shows", "text/event-stream", busy=True)},
        "/docs": {"get": _page("This document, for people")},
        "/openapi.json": {"get": _read(PAGES, "This document", {200: None})},
        "/health": {"get": _probe("The state")},
        "/ping": {"get": _probe("The state, as AWS SageMaker asks for it")},
        "/livez": {"get": _probe("Whether the process is alive")},
        "/readyz": {"get": _probe("Whether work is accepted")},
        "/metrics": {
            "get": {
                "tags": [PROBES],
                "summary": "Prometheus text",
                "security": [],
                "responses": {
                    "200": _response(
                        "Prometheus text, or OpenMetrics if the client asks for it",
                        {"type": "string"},
                        "text/plain",
                        "application/openmetrics-text",
                    )
                },
            }
        },
    }


def _purpose(model: ModelInfo | None) -> tuple[str, ...]:
    """The calls that are answered at ``/``."""
    if model is None:
        return "Embed", "Similarity", "EmbedSparse", "Rerank", "Predict"
    if Output.SCORES in model.outputs:
        return ("Rerank" if len(model.labels) == 1 else "Predict",)
    return ("Embed", "Similarity") if Output.POOLED in model.outputs else ("EmbedSparse",)


def _work(tag: str, summary: str, *names: str) -> Shape:
    """A call with a body; ``names`` are those of its request and answer."""
    openai = tag == OPENAI
    error = ref("OpenAIError" if openai else "TeiError")
    requests = [ref(f"{name}Request") for name in names]
    answers = [ref(f"{name}Answer") for name in names]
    return {
        "tags": [tag],
        "summary": summary,
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": _any(requests)}},
        },
        "responses": {
            "200": _response("The answer", _any(answers), "application/json"),
            **{
                str(status): _response(REASONS[status], error, "application/json")
                for status in (OPENAI_ERRORS if openai else TEI_ERRORS)
            },
        },
    }


def _any(shapes: list[Shape]) -> Shape:
    return shapes[0] if len(shapes) == 1 else {"anyOf": shapes}


def _read(tag: str, summary: str, answers: dict[int, str | None]) -> Shape:
    responses = {
        str(status): _response(
            REASONS.get(status, "The answer"),
            ref(name) if name else {"type": "object"},
            "application/json",
        )
        for status, name in answers.items()
    }
    error = ref("OpenAIError" if tag == OPENAI else "TeiError")
    responses["401"] = _response(REASONS[401], error, "application/json")
    return {"tags": [tag], "summary": summary, "responses": responses}


def _model() -> Shape:
    answers: dict[int, str | None] = {200: "Model", 404: "OpenAIError", 503: "OpenAIError"}
    return {
        **_read(OPENAI, "The model of this name", answers),
        "parameters": [{"name": "id", "in": "path", "required": True, "schema": text()}],
    }


def _page(summary: str, kind: str = "text/html", *, busy: bool = False) -> Shape:
    responses = {
        "200": _response("The page", {"type": "string"}, kind),
        "401": _response(REASONS[401], ref("TeiError"), "application/json"),
    }
    if busy:
        responses["503"] = _response("Too many viewers", {"type": "object"}, "application/json")
    return {"tags": [PAGES], "summary": summary, "responses": responses}


def _probe(summary: str) -> Shape:
    shape = {"type": "object"}
    return {
        "tags": [PROBES],
        "summary": summary,
        "security": [],
        "responses": {
            "200": _response("Yes", shape, "application/json"),
            "503": _response("No", shape, "application/json"),
        },
    }


def _response(about: str, schema: Shape, *kinds: str) -> Shape:
    return {"description": about, "content": {kind: {"schema": schema} for kind in kinds}}
