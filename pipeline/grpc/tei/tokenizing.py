"""Tokenize and Decode: messages to requests. The tokenizer alone answers them."""

from typing import Final

import numpy as np
from penstock.compat.tei_pb2 import (
    DecodeRequest,
    DecodeResponse,
    EncodeRequest,
    EncodeResponse,
    SimpleToken,
)

from pipeline.grpc.tei.request import RequestBuilder, TeiRequest
from pipeline.interface.request_checks import input_limits
from stages.data.ragged_ids import RaggedIds
from stages.data.ragged_input import from_lengths
from stages.errors import InvalidInput, NoItems
from stages.requests.answer import Answer
from stages.requests.output import Output

TOKEN_BYTES: Final = 16  # besides a token's text


def tokenize(wire: EncodeRequest, builder: RequestBuilder) -> TeiRequest:
    """The tokens of a text."""
    texts = builder.texts_of([wire.inputs])
    request = builder.request(
        wire, Output.PIECES, texts=texts, special_tokens=wire.add_special_tokens
    )

    def write(answer: Answer) -> EncodeResponse:
        (found,) = answer.pieces
        tokens = []
        for index, token_id in enumerate(found.ids):
            if found.special[index]:
                tokens.append(SimpleToken(id=token_id, text=found.names[index], special=True))
            else:
                start, stop = found.starts[index], found.stops[index]
                text = found.spelled(index)
                tokens.append(SimpleToken(id=token_id, text=text, start=start, stop=stop))
        return EncodeResponse(tokens=tokens)

    return TeiRequest(request, write, (TOKEN_BYTES + 1) * len(wire.inputs))


def decode(wire: DecodeRequest, builder: RequestBuilder) -> TeiRequest:
    """The text that ids stand for."""
    request = builder.request(
        wire,
        Output.TEXT,
        ids=_ids(wire, builder),
        special_tokens=not wire.skip_special_tokens,
    )

    def write(answer: Answer) -> DecodeResponse:
        (text,) = answer.texts
        return DecodeResponse(text=text)

    return TeiRequest(request, write, TOKEN_BYTES * len(wire.ids))


def _ids(wire: DecodeRequest, builder: RequestBuilder) -> RaggedIds:
    if not wire.ids:
        raise NoItems("ids: no items; at least 1 is needed", field="ids")
    vocabulary = builder.model.vocabulary
    if max(wire.ids) >= vocabulary:
        raise InvalidInput(
            f"ids: there is one outside the vocabulary 0 ... {vocabulary - 1}", field="ids"
        )
    ids = np.array(wire.ids, "<i4")
    length = np.array([len(ids)], "<i4")
    return from_lengths(
        ids.tobytes(), length.tobytes(), input_limits(builder.model, builder.limits)
    )
