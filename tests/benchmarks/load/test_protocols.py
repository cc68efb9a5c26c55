import base64
import json

import numpy as np
import pytest
from penstock.compat import gpu_inference_pb2 as compat
from penstock.v1 import embedding_pb2 as pb

from benchmarks.load.protocols import SPEAKERS, OpenAiHttp, PenstockGrpc
from benchmarks.load.texts import texts_of

ROW = np.array([0.5, -2.0], np.float32)


def test_texts_go_as_they_are():
    request = pb.EmbedRequest.FromString(SPEAKERS["penstock"]().prepare(["a b", "c"]))
    assert (list(request.texts), request.encoding) == (["a b", "c"], pb.FLOAT32)


def test_random_words_may_go_as_ids():
    payload = SPEAKERS["penstock, ids, float16"]().prepare(["aaaa baaa", "caaa"])
    request = pb.EmbedRequest.FromString(payload)
    assert np.frombuffer(request.token_ids, np.int32).tolist() == [2, 0, 1, 3, 2, 2, 3]
    assert np.frombuffer(request.lengths, np.int32).tolist() == [4, 3]
    assert request.encoding == pb.FLOAT16


def test_the_older_service_gets_a_message_a_bucket():
    sizes = [10, 300, 16, 17]
    messages = SPEAKERS["older"]().prepare(texts_of(sizes))
    requests = [compat.InferRequest.FromString(message) for message in messages]
    shapes = [(request.num_items, request.seq_len) for request in requests]
    assert shapes == [(2, 16), (1, 32), (1, 512)]
    masks = [np.frombuffer(request.attention_mask_bytes, np.int32) for request in requests]
    assert [int(mask.sum()) for mask in masks] == [26, 17, 300]
    assert all(request.bucket_max_len == request.seq_len for request in requests)


@pytest.mark.parametrize(
    ("number", "encoding"), [(np.float32, pb.FLOAT32), (np.float16, pb.FLOAT16)]
)
def test_vectors_are_read_in_their_encoding(number, encoding):
    reply = pb.EmbedResponse(embeddings=ROW.astype(number).tobytes()).SerializeToString()
    assert PenstockGrpc(encoding=encoding).vector(reply).tolist() == ROW.tolist()


@pytest.mark.parametrize("row", [ROW.tolist(), base64.b64encode(ROW.tobytes()).decode()])
def test_both_forms_of_a_row_are_read(row):
    reply = json.dumps({"data": [{"embedding": row}]}).encode()
    assert OpenAiHttp().vector(reply).tolist() == ROW.tolist()
