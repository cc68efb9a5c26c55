"""The checks that all edges make before they hand a request in.

Plain functions from a value on the wire to one that the stages know, or an
:class:`~stages.errors.InvalidInput` that names the field, the value and what is allowed.
"""

from collections.abc import Iterable
from random import getrandbits
from typing import Final

import numpy as np

from pipeline.interface.status import (
    LoadSnapshot,
    ModelInfo,
    Phase,
    RequestLimits,
    StatusBoard,
    not_serving,
)
from stages.data.input_limits import InputLimits
from stages.errors import InvalidInput, NotOffered, Overloaded, PenstockError
from stages.requests.answer import Answer
from stages.requests.output import Output
from stages.requests.request import EmbedRequest

MAX_REQUEST_ID_BYTES: Final = 256  # it appears in log lines and in the answer
SHORTEST_RETRY_S: Final = 0.05  # where the server cannot predict when to try again


def refusal(snapshot: LoadSnapshot, calls: int, max_calls: int) -> PenstockError | None:
    """Why work cannot be taken now, before its body is read; None when it can.

    ``calls`` are in flight on the edge that asks.
    """
    retry_after_s = max(snapshot.retry_after_s, SHORTEST_RETRY_S)
    if snapshot.accepting_requests:
        if calls < max_calls:
            return None
        return Overloaded(
            f"{max_calls} calls are in flight, which is the limit",
            reason="streams",
            retry_after_s=retry_after_s,
        )
    if snapshot.phase is not Phase.SERVING:
        return not_serving(snapshot.phase, retry_after_s=retry_after_s)
    return Overloaded(
        f"overloaded: {snapshot.queued_tokens} tokens are queued",
        reason="snapshot",
        retry_after_s=retry_after_s,
    )


def loaded_model(board: StatusBoard) -> ModelInfo:
    """The model, or NotServing while there is none."""
    if (model := board.model) is None:
        retry_after_s = max(board.snapshot.retry_after_s, 1.0)
        raise not_serving(Phase.LOADING, retry_after_s=retry_after_s)
    return model


def require_output(model: ModelInfo, output: Output) -> None:
    """Check that the model gives ``output``.

    Raises:
        NotOffered: it does not.
    """
    if output not in model.outputs and not output.by_tokenizer:
        offered = ", ".join(model.outputs)
        raise NotOffered(f"the loaded model does not give {output} (it gives {offered})")


def input_limits(model: ModelInfo, limits: RequestLimits) -> InputLimits:
    """What the items of one request may be."""
    return InputLimits(limits.max_items, limits.max_item_bytes, model.vocabulary)


def request_id_of(given: str) -> str:
    """The caller's id for the request, or a generated one where that is empty.

    Raises:
        InvalidInput: it is above 256 bytes of UTF-8.
    """
    size = len(given.encode())
    if size > MAX_REQUEST_ID_BYTES:
        raise InvalidInput(
            f"request_id: {size} bytes; at most {MAX_REQUEST_ID_BYTES} are allowed",
            field="request_id",
        )
    return given or f"{getrandbits(128):032x}"


def prompt_name_of(given: str, model: ModelInfo) -> str:
    """The name of one of the model's prompts; "" means its default.

    Raises:
        InvalidInput: the model has no such prompt.
    """
    if given and given not in model.prompts:
        known = ", ".join(sorted(model.prompts)) or "none"
        raise InvalidInput(
            f"prompt_name: there is no such prompt; this model has: {known}", field="prompt_name"
        )
    return given


def dimensions_of(given: int | None, model: ModelInfo) -> int | None:
    """How many leading dimensions are wanted; None: all.

    Raises:
        InvalidInput: the model does not have that many, or it is below 1.
    """
    if given is not None and not 1 <= given <= model.dimension:
        raise InvalidInput(
            f"dimensions: {given} is not in 1 ... {model.dimension}", field="dimensions"
        )
    return given


def tokens_run(answer: Answer, request: EmbedRequest, model: ModelInfo) -> int:
    """The tokens of all items after truncation."""
    most = min(model.max_tokens, request.max_tokens or model.max_tokens)
    return int(np.minimum(answer.token_counts, most).sum())


def not_one_of(field: str, value: int, names: Iterable[str]) -> InvalidInput:
    """The error of an unknown number of an enum; ``names`` are in order from 0."""
    known = ", ".join(f"{name} ({number})" for number, name in enumerate(names))
    return InvalidInput(f"{field}: {value} is not one of {known}", field=field)
