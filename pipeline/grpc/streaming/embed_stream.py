"""EmbedStream: what Embed does, for many requests at a time."""

import math

from penstock.v1.embedding_pb2 import EmbedRequest as WireRequest
from penstock.v1.embedding_pb2 import EmbedResponse, ItemError

from pipeline.grpc.coalescing.coalesced_embed import CoalescedEmbed
from pipeline.interface.statuses import grpc_status, retry_after_s
from stages.errors import PenstockError


class StreamedEmbed(CoalescedEmbed):
    """A :class:`~pipeline.grpc.streaming.stream_request.StreamedMethod`."""

    def failed(self, wire: WireRequest, error: PenstockError) -> EmbedResponse:
        """An answer without vectors that says why."""
        message, after_s = error.message, retry_after_s(error)
        if after_s is not None:
            message += f"; try again in {math.ceil(after_s * 1e3)} ms"
        refused = ItemError(index=-1, code=grpc_status(error).name, message=message)
        return EmbedResponse(request_id=wire.request_id, errors=[refused])
