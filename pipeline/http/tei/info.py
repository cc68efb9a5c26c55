"""``GET /info``: what is loaded, and what bounds it."""

from typing import Any

from attrs import frozen
from starlette.responses import Response

from pipeline.http.json_response import json_response
from pipeline.interface.request_checks import loaded_model
from pipeline.interface.status import ModelInfo, StatusBoard
from stages.requests.output import Output


@frozen
class ServerInfo:
    """What ``GET /info`` says besides the model and the limits of a request."""

    version: str
    max_concurrent_requests: int
    max_batch_tokens: int


def info(board: StatusBoard, server: ServerInfo) -> Response:
    """Answer ``GET /info``."""
    model = loaded_model(board)
    return json_response(
        {
            "model_id": model.model_id,
            "model_sha": None,
            "model_dtype": model.dtype,
            "model_type": model_type(model),
            "max_concurrent_requests": server.max_concurrent_requests,
            "max_input_length": model.max_tokens,
            "max_batch_tokens": server.max_batch_tokens,
            "max_batch_requests": None,
            "max_client_batch_size": board.limits.max_items,
            "auto_truncate": True,
            "tokenization_workers": 1,
            "version": server.version,
            "sha": None,
            "docker_label": None,
        }
    )


def model_type(model: ModelInfo) -> dict[str, Any]:
    """What the model is for: a classifier with one label ranks."""
    if Output.SCORES in model.outputs:
        ids = {str(index): label for index, label in enumerate(model.labels)}
        labels = {"id2label": ids, "label2id": {label: int(index) for index, label in ids.items()}}
        return {"reranker" if len(model.labels) == 1 else "classifier": labels}
    sparse = Output.SPARSE in model.outputs
    return {"embedding": {"pooling": "splade" if sparse else model.pooling}}
