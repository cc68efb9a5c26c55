"""What is fuzzed: functions of bytes that raise when a promise is broken.

The promises: whatever a client sends, its call ends with a status, or its stream or
its connection with an error code; nothing is raised into the loop; nothing is left.
"""

from collections.abc import Callable
from contextlib import suppress
from functools import cache

import numpy as np
from edge_in_memory import EdgeInMemory, Heard
from frame_client import (
    DATA,
    EMBED,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    PING,
    REQUEST,
    RST_STREAM,
    WINDOW_UPDATE,
    block,
    frame,
    literal,
)
from penstock.compat.gpu_inference_pb2 import InferRequest
from penstock.v1.embedding_pb2 import EmbedRequest

from stages.data.input_limits import InputLimits
from stages.data.padded_input import from_mask, from_rows
from stages.data.ragged_ids import RaggedIds
from stages.data.ragged_input import from_lengths
from stages.errors import PenstockError

METHODS = (
    EMBED,
    EMBED + "Stream",
    "/gpu_inference.InferenceService/Infer",
    "/tei.v1.Embed/Embed",
    "/tei.v1.Embed/EmbedStream",
    "/tei.v1.Tokenize/Tokenize",
    "/grpc.health.v1.Health/Check",
)
MESSAGES = (
    EmbedRequest(request_id="r", texts=["a", "b"], dimensions=4, prompt_name="query"),
    EmbedRequest(token_ids=b"\1\0\0\0\2\0\0\0", lengths=b"\2\0\0\0"),
    InferRequest(
        input_ids_bytes=b"\1\0\0\0", attention_mask_bytes=b"\1\0\0\0", num_items=1, seq_len=1
    ),
)
SENSIBLE = (
    (HEADERS, block()),
    (DATA, b"\0\0\0\0\x03\x12\x01a"),
    (HEADERS, block([("x", "y")])),
    (RST_STREAM, bytes(4)),
    (WINDOW_UPDATE, b"\0\0\0\x09"),
)
LIMITS = InputLimits(max_items=8, max_item_bytes=64, vocabulary=100)
PIECE = 1 << 14
PONG = b"are you?"


@cache
def edge() -> EdgeInMemory:
    return EdgeInMemory()


def request(path: str, body: bytes) -> bytes:
    """A call on stream 1."""
    headers = [(name, path if name == ":path" else value) for name, value in REQUEST]
    pieces = [body[at : at + PIECE] for at in range(0, len(body), PIECE)] or [b""]
    sent = frame(HEADERS, block(headers), 1, END_HEADERS)
    for piece in pieces[:-1]:
        sent += frame(DATA, piece, 1)
    return sent + frame(DATA, pieces[-1], 1, END_STREAM)


def check_ended(heard: Heard, *, with_status: bool = True) -> None:
    if heard.goaway is None:
        assert 1 in heard.status
        assert heard.status[1] is not None or not with_status
        assert heard.pongs == 1


def prefix(data: bytes) -> None:
    """Any bytes as the body of a call: its prefix and what follows."""
    path = METHODS[data[0] % len(METHODS)] if data else EMBED
    check_ended(edge().exchange(request(path, data[1:]), frame(PING, PONG)))


def protobuf(data: bytes) -> None:
    """A message that is one in part: real ones with bytes written over and put in."""
    start = MESSAGES[data[0] % len(MESSAGES)] if data else MESSAGES[0]
    message = bytearray(start.SerializeToString())
    for at in range(1, len(data) - 1, 2):
        place = data[at] % (len(message) + 1)
        message[place : place + data[at] % 2] = data[at + 1 : at + 2]
    path = METHODS[(data[-1] if data else 0) % len(METHODS)]
    body = b"\0" + len(message).to_bytes(4) + bytes(message)
    check_ended(edge().exchange(request(path, body), frame(PING, PONG)))


def metadata(data: bytes) -> None:
    """Any names and values beside, and in place of, the usual ones."""
    fields, at = list(REQUEST), 1
    dropped = data[0] if data else 0
    fields = [each for place, each in enumerate(fields) if not dropped >> place & 1]
    encoded = block(fields)
    while at + 2 < len(data):
        name, value = data[at] % 24, data[at + 1] % 64
        encoded += literal(data[at + 2 :][:name], data[at + 2 + name :][:value])
        at += 2 + name + value
    sent = frame(HEADERS, encoded[:PIECE], 1, END_HEADERS)
    body = b"\0\0\0\0\x03\x12\x01a"
    heard = edge().exchange(sent + frame(DATA, body, 1, END_STREAM), frame(PING, PONG))
    check_ended(heard, with_status=False)


def frames(data: bytes) -> None:
    """Any bytes as frames."""
    middle = len(data) // 2
    edge().exchange(data[:middle], data[middle:])


def framed(data: bytes) -> None:
    """Frames of any kind, flags, stream and payload, some of which make sense."""
    sent, at = b"", 0
    while at + 4 <= len(data):
        kind, flags, stream, size = data[at : at + 4]
        payload = data[at + 4 :][: size // 2]
        if size % 2:
            sensible = SENSIBLE[size // 2 % len(SENSIBLE)]
            sent += frame(*sensible, stream % 4 * 2 + 1, flags & END_STREAM | END_HEADERS)
        else:
            sent += frame(kind % 12, payload, stream % 8, flags)
            at += len(payload)
        at += 4
    edge().exchange(sent)


def ragged(data: bytes) -> None:
    """Any bytes as token ids and lengths, matrix and mask, or rows."""
    if len(data) < 3:
        return
    items, width, cut = data[0] % 10, data[1] % 10, data[2]
    first, second = data[3 : 3 + cut], data[3 + cut :]
    rows = [list(first[at : at + width]) for at in range(0, len(first), width or 1)]
    mask = [[value % 2 for value in row] for row in rows]
    for read in (
        lambda: from_lengths(first, second, LIMITS),
        lambda: from_mask(first, second, items, width, LIMITS),
        lambda: from_rows(rows, mask, LIMITS),
    ):
        with suppress(PenstockError):
            check_ragged(read())


def check_ragged(ids: RaggedIds) -> None:
    """Every item lies within the ids, is not empty, and has known ones."""
    assert 1 <= len(ids) <= LIMITS.max_items
    for index in range(len(ids)):
        item = np.asarray(ids.item(index))
        assert 1 <= len(item) <= LIMITS.max_item_bytes // 4
        assert ((item >= 0) & (item < LIMITS.vocabulary)).all()


TARGETS: dict[str, Callable[[bytes], None]] = {
    each.__name__: each for each in (prefix, protobuf, metadata, frames, framed, ragged)
}
