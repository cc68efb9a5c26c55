"""What a caller may ask for besides the vectors."""

from typing import TypedDict

from penstock.client.errors import InvalidRequest
from penstock.v1.embedding_pb2 import EmbedRequest, Priority, TruncationDirection


class Options(TypedDict, total=False):
    """The keywords of ``embed`` and ``stream``; what is not given is the server's default.

    ``prompt_name``: one of the model's prompts. ``normalize``: otherwise than the model
    declares. ``dimensions``: the first so many. ``truncate`` False: an over-long input
    is an error; ``truncate_left``: it is cut on the left. ``bulk``: others go first.
    """

    prompt_name: str
    normalize: bool
    dimensions: int
    truncate: bool
    truncate_left: bool
    bulk: bool


def request_with(
    *,
    prompt_name: str = "",
    normalize: bool | None = None,
    dimensions: int | None = None,
    truncate: bool = True,
    truncate_left: bool = False,
    bulk: bool = False,
) -> EmbedRequest:
    """A request without inputs.

    Raises:
        InvalidRequest: an option is not of its type, or no request has room for it.
    """
    side = TruncationDirection.LEFT if truncate_left else TruncationDirection.RIGHT
    try:
        return EmbedRequest(
            prompt_name=prompt_name,
            normalize=normalize,
            dimensions=dimensions,
            truncate=truncate,
            truncation_direction=side,
            priority=Priority.BULK if bulk else Priority.INTERACTIVE,
        )
    except (TypeError, ValueError) as error:
        raise InvalidRequest(f"an option that cannot be sent: {error}") from None
