"""Every kind of bad input, over real gRPC with a real model, and neighbours unharmed."""

import grpc
import numpy as np
import pytest
from penstock.compat import gpu_inference_pb2 as seed
from refusals import INVALID, SECRET, SECRET_IDS, TOO_LARGE, Bad, assert_refused, named
from server_processes import (
    NO_REFUSALS,
    as_ids,
    as_matrix,
    client_of,
    int32,
    serving,
    vectors_in,
)

VOCABULARY = 30522
LIMITS = {
    "MAX_ITEMS_PER_REQUEST": "64",
    "MAX_ITEM_BYTES": "4096",
    "MAX_REQUEST_BYTES": "65536",
}
GOOD = {"texts": [f"{SECRET} is warm {'and green ' * 30}"] * 16}


IDS = as_ids([SECRET_IDS])
ON_EMBED = [
    Bad("no_items", {}, ("no items", "texts", "token_ids")),
    Bad("both", {"texts": [SECRET], **IDS}, ("texts and token_ids", "exactly one")),
    Bad("lengths_only", {"lengths": int32([4])}, ("add up to 4", "holds 0")),
    Bad("ids_only", {"token_ids": int32([101])}, ("lengths", "no items", "at least 1")),
    Bad("torn_ids", {**IDS, "token_ids": b"\1" * 17}, ("token_ids", "17 bytes", "int32")),
    Bad("torn_lengths", {**IDS, "lengths": b"\4\0\0"}, ("lengths", "3 bytes", "int32")),
    Bad("too_few_ids", {**IDS, "lengths": int32([5])}, ("add up to 5", "holds 4")),
    Bad("too_many_ids", {**IDS, "lengths": int32([3])}, ("add up to 3", "holds 4")),
    Bad("zero_length", {**IDS, "lengths": int32([4, 0])}, ("item 1", "length 0", "at least 1")),
    Bad("negative_length", {**IDS, "lengths": int32([-4])}, ("item 0", "-4", "at least 1")),
    Bad(
        "lengths_that_wrap",
        {**IDS, "lengths": int32([2**31 - 1, 2**31 - 1, 6])},
        ("add up to 4294967300", "holds 4"),
    ),
    Bad(
        "id_above_the_vocabulary",
        as_ids([SECRET_IDS, [101, VOCABULARY, 102]]),
        ("item 1", "vocabulary", f"0 ... {VOCABULARY - 1}"),
    ),
    Bad("negative_id", as_ids([[101, -1, 102]]), ("item 0", f"0 ... {VOCABULARY - 1}")),
    Bad("too_many_texts", {"texts": [SECRET] * 65}, ("65 items", "64"), TOO_LARGE),
    Bad("too_many_lengths", as_ids([SECRET_IDS] * 65), ("65 items", "64"), TOO_LARGE),
    Bad(
        "too_long_a_text",
        {"texts": ["fine", f"{SECRET} " * 456]},
        ("item 1", "4104 bytes", "4096"),
        TOO_LARGE,
    ),
    Bad(
        "too_many_tokens",
        as_ids([SECRET_IDS, [2003] * 1025]),
        ("item 1", "4100 bytes", "4096"),
        TOO_LARGE,
    ),
    Bad(
        "too_many_bytes",
        {"texts": [f"{SECRET} " * 400] * 20},
        ("bytes", "at most 65536"),
        TOO_LARGE,
    ),
    Bad(
        "over_long_text",
        {"texts": ["fine", f"{SECRET} " * 300], "truncate": False},
        ("item 1", "tokens", "at most 256", "not to truncate"),
    ),
    Bad(
        "over_long_ids",
        {**as_ids([SECRET_IDS, [2003] * 257]), "truncate": False},
        ("item 1", "257 tokens", "at most 256", "not to truncate"),
    ),
    Bad(
        "too_long_a_name",
        {"texts": [SECRET], "request_id": "\N{SNOWMAN}" * 86},
        ("request_id", "258 bytes", "at most 256"),
    ),
    Bad("unknown_encoding", {"texts": [SECRET], "encoding": 4}, ("encoding", "4", "BINARY (3)")),
    Bad("unknown_side", {"texts": [SECRET], "truncation_direction": 2}, ("2", "LEFT (1)")),
    Bad("unknown_priority", {"texts": [SECRET], "priority": 7}, ("priority", "7", "BULK (1)")),
    Bad(
        "unknown_prompt",
        {"texts": [SECRET], "prompt_name": f"{SECRET}-prompt"},
        ("prompt_name", "this model has: none"),
    ),
    Bad("dimensions_above", {"texts": [SECRET], "dimensions": 385}, ("385", "1 ... 384")),
    Bad("no_dimensions", {"texts": [SECRET], "dimensions": 0}, ("dimensions", "0", "1 ... 384")),
    Bad("negative_dimensions", {"texts": [SECRET], "dimensions": -1}, ("-1", "1 ... 384")),
]


def matrix(**changes):
    return as_matrix([SECRET_IDS, SECRET_IDS]) | changes


def masked(*rows):
    return matrix(attention_mask_bytes=int32(rows))


def in_rows(ids, mask):
    return {
        "input_ids": [seed.TensorRow(values=row) for row in ids],
        "attention_mask": [seed.TensorRow(values=row) for row in mask],
    }


ON_INFER = [
    Bad("no_items", {}, ("no items", "input_ids_bytes", "num_items")),
    Bad("zero_items", matrix(num_items=0), ("num_items", "at least 1")),
    Bad("negative_items", matrix(num_items=-1), ("num_items", "at least 1")),
    Bad("zero_width", matrix(seq_len=0), ("seq_len", "0", "at least 1")),
    Bad("both_forms", matrix(**in_rows([[101]], [[1]])), ("bytes and rows", "exactly one")),
    Bad("ids_only", matrix(attention_mask_bytes=b""), ("attention_mask_bytes", "0 bytes", "32")),
    Bad("mask_only", matrix(input_ids_bytes=b""), ("input_ids_bytes", "0 bytes", "32")),
    Bad("torn_ids", matrix(input_ids_bytes=b"\1" * 31), ("input_ids_bytes", "31 bytes", "32")),
    Bad("not_adding_up", matrix(seq_len=5), ("32 bytes", "num_items 2 x seq_len 5", "40")),
    Bad("mask_with_a_hole", masked([1, 1, 1, 1], [1, 0, 1, 1]), ("item 1", "hole", "run of 1")),
    Bad("mask_of_zeros", masked([1, 1, 1, 1], [0, 0, 0, 0]), ("item 1", "zeros", "run of 1")),
    Bad("mask_of_twos", masked([1, 1, 1, 1], [1, 2, 1, 1]), ("item 1", "0 and 1")),
    Bad(
        "id_above_the_vocabulary",
        as_matrix([SECRET_IDS, [101, VOCABULARY, 102]]),
        ("item 1", f"0 ... {VOCABULARY - 1}"),
    ),
    Bad("too_many_items", as_matrix([SECRET_IDS] * 65), ("65 items", "64"), TOO_LARGE),
    Bad("too_many_tokens", as_matrix([[2003] * 1025]), ("item 0", "4100", "4096"), TOO_LARGE),
    Bad("too_many_bytes", as_matrix([[2003] * 1025] * 8), ("bytes", "65536"), TOO_LARGE),
    Bad("too_long_a_name", matrix(request_id="n" * 257), ("request_id", "257", "at most 256")),
    Bad("negative_wait", matrix(max_wait_ms=-1), ("max_wait_ms", "-1", "0")),
    Bad("ragged_rows", in_rows([[101, 102], [101]], [[1, 1], [1]]), ("item 1", "same width")),
    Bad("missing_mask_row", in_rows([[101], [102]], [[1]]), ("1 rows for 2 rows",)),
    Bad("empty_rows", in_rows([[]], [[]]), ("item 0", "empty")),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    log = tmp_path_factory.mktemp("bad") / "log"
    with serving(log, LOG_LEVEL="debug", **LIMITS, **NO_REFUSALS) as server:
        yield server


@pytest.fixture(scope="module")
def client(server):
    with client_of(server) as client:
        yield client


@pytest.fixture(scope="module")
def good_vectors(client):
    return vectors_in(client.embed(**GOOD))


@named(ON_EMBED)
def test_embed_refuses(bad, server, client, good_vectors):
    neighbour = client.embed_later(**GOOD)
    assert_refused(client.embed, bad, server.log)
    assert np.abs(vectors_in(neighbour.result()) - good_vectors).max() <= 2e-6


@named(ON_INFER)
def test_infer_refuses(bad, server, client, good_vectors):
    neighbour = client.embed_later(**GOOD)
    assert_refused(client.infer, bad, server.log)
    assert np.abs(vectors_in(neighbour.result()) - good_vectors).max() <= 2e-6


def test_ids_in_the_padding_are_never_looked_at(client):
    request = masked([1, 1, 1, 1], [1, 1, 1, 0])
    request["input_ids_bytes"] = int32([SECRET_IDS, [*SECRET_IDS[:2], 102, -7]])
    assert client.infer(**request).embedding_dim == 384


def test_a_message_that_is_none_is_refused(server, client):
    call = client.channel.unary_unary("/penstock.v1.EmbeddingService/Embed")
    with pytest.raises(grpc.RpcError) as refused:
        call(SECRET.encode(), timeout=30)
    assert refused.value.code() is INVALID
    assert "not a valid penstock.v1.EmbedRequest" in refused.value.details()
    assert SECRET not in server.log.read_text()
