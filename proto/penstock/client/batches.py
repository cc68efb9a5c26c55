"""Inputs in calls of bounded size: pure.

Texts are measured by their bytes, about four to a token of English; ids are known.
"""

import operator
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from penstock.client.errors import InvalidRequest
from penstock.v1.embedding_pb2 import EmbedRequest

Ids: TypeAlias = NDArray[np.integer] | list[int] | tuple[int, ...]
Input: TypeAlias = str | Ids

BYTES_A_TOKEN: Final = 4
SPECIAL_TOKENS: Final = 2
INT32: Final = np.iinfo(np.int32)


class CallSize(NamedTuple):
    """What one call may hold; at least one input goes out whatever its size."""

    tokens: int  # estimated
    items: int
    bytes: int
    item_tokens: int  # a longer one is cut to this by the server


class Batch(NamedTuple):
    """The inputs of one call: ``start`` is the place of the first among all."""

    start: int
    items: list[bytes]
    are_texts: bool

    def put_into(self, request: EmbedRequest) -> None:
        """Set the request's inputs."""
        if self.are_texts:
            request.texts.extend(map(bytes.decode, self.items))
            return
        lengths = [len(item) // INT32.dtype.itemsize for item in self.items]
        request.token_ids = b"".join(self.items)
        request.lengths = np.array(lengths, "<i4").tobytes()


def batches(inputs: Iterable[Input], size: CallSize) -> Iterator[Batch]:
    """``inputs`` in their order, read as they are needed.

    Raises:
        InvalidRequest: one is neither a text nor an array of ids; it names its place.
    """
    if isinstance(inputs, str):  # its characters would be texts
        raise InvalidRequest("one text stands in place of inputs: give a list of texts")
    start, items, tokens, held = 0, list[bytes](), 0, 0
    texts = True
    for index, given in enumerate(inputs):
        is_text = isinstance(given, str)
        item = _text(given, index) if isinstance(given, str) else _ids(given, index)
        needed = _tokens(item, size, is_text=is_text)
        if items and (
            is_text != texts
            or len(items) == size.items
            or tokens + needed > size.tokens
            or held + len(item) > size.bytes
        ):
            yield Batch(start, items, texts)
            start, items, tokens, held = index, [], 0, 0
        texts = is_text
        items.append(item)
        tokens += needed
        held += len(item)
    if items:
        yield Batch(start, items, texts)


def _tokens(item: bytes, size: CallSize, *, is_text: bool) -> int:
    if is_text:
        return min(len(item) // BYTES_A_TOKEN + SPECIAL_TOKENS, size.item_tokens)
    return min(len(item) // INT32.dtype.itemsize, size.item_tokens)


def _text(text: str, index: int) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise InvalidRequest(f"input {index}: a text that UTF-8 has no form for") from None


def _ids(given: object, index: int) -> bytes:
    try:
        if isinstance(given, np.ndarray):
            ids = given
        else:
            whole = None if isinstance(given, bytes) else given  # the bytes would be ids
            ids = np.fromiter(map(operator.index, whole), np.int64)  # type: ignore[call-overload]
    except (TypeError, OverflowError):
        raise InvalidRequest(f"input {index}: neither a text nor a sequence of token ids") from None
    if ids.ndim != 1 or not len(ids) or ids.dtype.kind not in "iu":
        raise InvalidRequest(f"input {index}: token ids are whole numbers, at least one of them")
    if ids.min() < 0 or ids.max() > INT32.max:
        raise InvalidRequest(f"input {index}: token ids are in 0 ... {INT32.max}")
    return ids.astype("<i4").tobytes()
