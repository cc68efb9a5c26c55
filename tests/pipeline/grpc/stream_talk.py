"""A stream of requests in flight, as grpcio's clients have it."""

import queue

import grpc
import numpy as np
from penstock.v1.embedding_pb2 import EmbedRequest, EmbedResponse

from pipeline.grpc.framing import PREFIX

STREAM = "/penstock.v1.EmbeddingService/EmbedStream"
LONG_S = 60


class Talk:
    """A stream in flight: requests go in as they are said, answers come out."""

    def __init__(self, channel, timeout=LONG_S):
        self.said = queue.Queue()
        stream = channel.stream_stream(
            STREAM,
            request_serializer=EmbedRequest.SerializeToString,
            response_deserializer=EmbedResponse.FromString,
        )
        self.call = stream(iter(self.said.get, None), timeout=timeout)

    def say(self, *requests):
        for request in requests:
            self.said.put(request)

    def done(self):
        self.said.put(None)

    def rest(self):
        """The answers up to the end, which is OK, by request id."""
        return {answer.request_id: answer for answer in self.call}

    def all(self):
        """The names in the answers up to the end, and what ended the stream."""
        names = []
        try:
            names.extend(answer.request_id for answer in self.call)
        except grpc.RpcError as error:
            return names, error
        return names, self.call


def texts(name, *words):
    return EmbedRequest(request_id=name, texts=words, normalize=False)


def unframed(data):
    """The answers in the bytes of a stream."""
    while data:
        end = PREFIX.size + PREFIX.unpack(data[: PREFIX.size])[1]
        yield EmbedResponse.FromString(data[PREFIX.size : end])
        data = data[end:]


def first_values(answer):
    rows = np.frombuffer(answer.embeddings, "<f4").reshape(answer.count, answer.dimension)
    return rows[:, 0].tolist()


def items_given_up(frontend):
    return sum(ticket.items for ticket in frontend.abandoned)
