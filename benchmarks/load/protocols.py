"""How each kind of server is spoken to: a call is prepared before the clock starts.

``prepare`` turns texts into a payload, ``connect`` opens a connection and gives a
function that sends a payload and returns the raw reply, ``vector`` reads the vector
of a call with one text. What a reply holds is not parsed while the clock runs: the
client shall be light.
"""

import base64
import http.client
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from functools import partial
from types import MappingProxyType
from typing import Any, ClassVar, Final, Protocol, TypeAlias

import grpc
import numpy as np
from attrs import frozen
from numpy.typing import NDArray
from penstock.compat import gpu_inference_pb2 as compat
from penstock.v1 import embedding_pb2 as pb
from tokenizers import Tokenizer

from benchmarks.load.texts import model_folder

Payload: TypeAlias = Any
Vector: TypeAlias = NDArray[np.float32]
TIMEOUT_S: Final = 120.0
BUCKETS: Final = (16, 32, 64, 128, 256, 512)
MODEL_NAME: Final = "model"
CHANNEL_OPTIONS: Final = (
    ("grpc.use_local_subchannel_pool", 1),  # each channel has a connection of its own
    ("grpc.max_receive_message_length", 64 << 20),
    ("grpc.enable_http_proxy", 0),
)


class Refused(Exception):
    """The server would not take the call now."""


class Speaker(Protocol):
    """One protocol."""

    def prepare(self, texts: Sequence[str]) -> Payload:
        """A call with these texts."""
        ...

    def connect(self, target: str) -> AbstractContextManager[Callable[[Payload], Any]]:
        """A connection to ``host:port``; calls raise Refused and what the transport raises."""
        ...

    def vector(self, reply: Any) -> Vector:
        """Float32 [dimension], of a call with one text."""
        ...


def open_channel(target: str) -> grpc.Channel:
    """A gRPC channel with a connection of its own."""
    return grpc.insecure_channel(target, options=CHANNEL_OPTIONS)


@frozen
class PenstockGrpc:
    """This project's own service; with ``as_ids`` texts of random words go as token ids."""

    as_ids: bool = False
    encoding: pb.Encoding.ValueType = pb.FLOAT32
    method: ClassVar = "/penstock.v1.EmbeddingService/Embed"

    def prepare(self, texts: Sequence[str]) -> bytes:
        """One message."""
        request = pb.EmbedRequest(encoding=self.encoding)
        if self.as_ids:
            from benchmarks.engine.shapes import ids  # noqa: PLC0415 - torch, which others do without

            items = [ids(text) for text in texts]
            request.token_ids = np.concatenate(items).tobytes()
            request.lengths = np.array([len(item) for item in items], np.int32).tobytes()
        else:
            request.texts.extend(texts)
        return request.SerializeToString()

    @contextmanager
    def connect(self, target: str) -> Iterator[Callable[[bytes], bytes]]:
        """A channel of its own."""
        with open_channel(target) as channel:
            embed = channel.unary_unary(self.method)

            def call(payload: bytes) -> bytes:
                try:
                    reply: bytes = embed(payload, timeout=TIMEOUT_S)
                except grpc.RpcError as error:
                    raise as_refusal(error) from error
                return reply

            yield call

    def vector(self, reply: bytes) -> Vector:
        """From ``embeddings``."""
        number = np.float16 if self.encoding == pb.FLOAT16 else np.float32
        row = np.frombuffer(pb.EmbedResponse.FromString(reply).embeddings, number)
        return row.astype(np.float32)


class OlderGrpc:
    """``gpu_inference.InferenceService``: padded ids, and all of a message in one bucket.

    A call whose texts lie in several buckets is as many messages, sent at once.
    """

    method = "/gpu_inference.InferenceService/Infer"

    def __init__(self, max_wait_s: float | None = None) -> None:
        self._max_wait_s = max_wait_s or TIMEOUT_S
        self._tokenizer = Tokenizer.from_file(str(model_folder() / "tokenizer.json"))
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()

    def prepare(self, texts: Sequence[str]) -> list[bytes]:
        """A message a bucket."""
        items = [encoding.ids for encoding in self._tokenizer.encode_batch_fast(list(texts))]
        messages, shorter = [], 0
        for bucket in BUCKETS:
            fitting = [ids for ids in items if shorter < len(ids) <= bucket]
            if fitting:
                request = _padded(fitting, bucket, self._max_wait_s)
                messages.append(request.SerializeToString())
            shorter = bucket
        return messages

    @contextmanager
    def connect(self, target: str) -> Iterator[Callable[[list[bytes]], list[bytes]]]:
        """A channel of its own."""
        with open_channel(target) as channel:
            infer = channel.unary_unary(self.method)

            def call(payload: list[bytes]) -> list[bytes]:
                try:
                    pending = [infer.future(message, timeout=TIMEOUT_S) for message in payload]
                    return [reply.result() for reply in pending]
                except grpc.RpcError as error:
                    raise as_refusal(error) from error

            yield call

    def vector(self, reply: list[bytes]) -> Vector:
        """From ``embeddings_bytes``."""
        return np.frombuffer(compat.InferResponse.FromString(reply[0]).embeddings_bytes, np.float32)


class OpenAiHttp:
    """``POST /embeddings`` as OpenAI's clients send it, floats in base64."""

    def prepare(self, texts: Sequence[str]) -> bytes:
        """One body."""
        body = {"model": MODEL_NAME, "input": list(texts), "encoding_format": "base64"}
        return json.dumps(body).encode()

    @contextmanager
    def connect(self, target: str) -> Iterator[Callable[[bytes], bytes]]:
        """A connection that is kept open."""
        connection = http.client.HTTPConnection(target, timeout=TIMEOUT_S)
        headers = {"content-type": "application/json"}

        def call(payload: bytes) -> bytes:
            connection.request("POST", "/embeddings", payload, headers)
            response = connection.getresponse()
            reply = response.read()
            if response.status in {429, 503}:
                raise Refused(response.reason)
            if response.status != http.client.OK:
                raise RuntimeError(f"HTTP {response.status}: {reply[:200]!r}")
            return reply

        with closing(connection):
            yield call

    def vector(self, reply: bytes) -> Vector:
        """From the first row, in either of the two forms."""
        row = json.loads(reply)["data"][0]["embedding"]
        if isinstance(row, str):
            return np.frombuffer(base64.b64decode(row), np.float32)
        return np.array(row, np.float32)


def as_refusal(error: grpc.RpcError) -> Exception:
    """:class:`Refused` for an overload, else a plain error with the status."""
    code = error.code()
    if code in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED}:
        return Refused(error.details())
    return RuntimeError(f"{code.name}: {error.details()}")


def _padded(items: Sequence[Sequence[int]], width: int, max_wait_s: float) -> compat.InferRequest:
    ids = np.zeros((len(items), width), np.int32)
    mask = np.zeros_like(ids)
    for row, item in enumerate(items):
        ids[row, : len(item)] = item
        mask[row, : len(item)] = 1
    return compat.InferRequest(
        request_id="benchmark",
        input_ids_bytes=ids.tobytes(),
        attention_mask_bytes=mask.tobytes(),
        num_items=len(items),
        seq_len=width,
        bucket_max_len=width,
        max_wait_ms=int(max_wait_s * 1e3),
    )


SPEAKERS: Final[Mapping[str, Callable[[], Speaker]]] = MappingProxyType(
    {
        "penstock": PenstockGrpc,
        "penstock, float16": partial(PenstockGrpc, encoding=pb.FLOAT16),
        "penstock, ids": partial(PenstockGrpc, as_ids=True),
        "penstock, ids, float16": partial(PenstockGrpc, as_ids=True, encoding=pb.FLOAT16),
        "older": OlderGrpc,
        "openai": OpenAiHttp,
    }
)
