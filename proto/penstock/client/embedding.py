"""One run over many inputs: several calls in flight, their answers as they come."""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from penstock.client.batches import Batch
from penstock.client.connection import Connection
from penstock.client.errors import InvalidRequest, ItemFailed, ModelChanged, ServerFailed
from penstock.client.patience import Patience
from penstock.v1.embedding_pb2 import EmbedRequest, EmbedResponse

Vectors: TypeAlias = NDArray[np.float32]


class Part(NamedTuple):
    """Some of the vectors: float32 [n, dimension]; ``start`` is the place of the first."""

    start: int
    vectors: Vectors


class Run(NamedTuple):
    """How the calls of a run are made; ``deadline`` is on the loop's clock."""

    connection: Connection
    like: EmbedRequest
    patience: Patience
    calls_at_once: int
    call_timeout_s: float
    deadline: float

    async def parts(self, waiting: Iterator[Batch], fingerprint: str) -> AsyncGenerator[Part]:
        """The vectors of what is ``waiting``, which is read as calls find room.

        All are of one model: of ``fingerprint``, or where that is "" of the first that answers.
        """
        running: set[asyncio.Task[tuple[Part, str]]] = set()
        try:
            while True:
                while len(running) < self.calls_at_once and (batch := next(waiting, None)):
                    running.add(asyncio.create_task(self._ask(batch)))
                if not running:
                    return
                done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    part, model = task.result()
                    fingerprint = fingerprint or model
                    if model != fingerprint:
                        raise ModelChanged(f"model {model} answers in place of {fingerprint}")
                    yield part
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    async def _ask(self, batch: Batch) -> tuple[Part, str]:
        """One call: its vectors, and the fingerprint of the model that made them."""
        request = EmbedRequest()
        request.CopyFrom(self.like)
        batch.put_into(request)
        try:
            answer: EmbedResponse = await self.connection.call(
                "Embed",
                request,
                self.patience,
                timeout_s=self.call_timeout_s,
                deadline=self.deadline,
            )
        except InvalidRequest as refusal:
            if not batch.start:
                raise
            where = f"{refusal} (item 0 of that call is input {batch.start})"
            raise InvalidRequest(where, field=refusal.field) from None
        if answer.errors:
            error = answer.errors[0]
            place = batch.start + error.index
            raise ItemFailed(f"input {place}: {error.message}", index=place)
        vectors = np.frombuffer(answer.embeddings, "<f4")
        if answer.count != len(batch.items) or len(vectors) != answer.count * answer.dimension:
            raise ServerFailed(f"{answer.count} vectors for {len(batch.items)} inputs")
        matrix = vectors.reshape(answer.count, answer.dimension)
        return Part(batch.start, matrix), answer.fingerprint
