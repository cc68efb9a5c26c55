"""TEI's services on an edge of their own: what they hand in, and how they end."""

import grpc
import numpy as np
import pytest
from edge_fakes import MODEL, answer_to
from penstock.compat import tei_pb2 as tei
from rpc import fields_at_fault, refused
from tei_edge import CLASSIFIER, LONG_S, RANKER, ragged_of, serving_tei, unary

from stages.data.ragged_rows import SPARSE_ENTRY
from stages.data.token_list import TokenList
from stages.requests.output import Output
from stages.requests.request import Side


@pytest.fixture
def serving():
    with serving_tei() as start:
        yield start


def scores_of(*rows):
    return lambda request: answer_to(request, vectors=np.array(rows, np.float32))


def test_embed_is_normalised_unless_that_is_not_wanted(serving):
    edge = serving()
    embed = unary(edge, "Embed/Embed", tei.EmbedResponse)
    unit = np.array(embed(tei.EmbedRequest(inputs="ab")).embeddings)
    plain = np.array(embed(tei.EmbedRequest(inputs="ab", normalize=False)).embeddings)
    assert plain.tolist() == [float(3 + n) for n in range(8)]
    assert np.allclose(unit, plain / np.linalg.norm(plain), atol=1e-6)
    short = embed(tei.EmbedRequest(inputs="ab", normalize=False, dimensions=3)).embeddings
    assert list(short) == plain[:3].tolist()


def test_what_is_asked_for_is_handed_in(serving):
    edge = serving()
    embed = unary(edge, "Embed/Embed", tei.EmbedResponse)
    embed(tei.EmbedRequest(inputs="a"), timeout=5)
    embed(
        tei.EmbedRequest(
            inputs="a",
            truncate=True,
            truncation_direction=tei.TRUNCATION_DIRECTION_LEFT,
            prompt_name="query",
        )
    )
    (plain, timeout_s), (other, _) = edge.frontend.submitted
    assert (plain.truncate, plain.side, plain.prompt_name) == (False, Side.RIGHT, "")
    assert (other.truncate, other.side, other.prompt_name) == (True, Side.LEFT, "query")
    assert 0 < timeout_s <= 5.1  # grpcio rounds up


def test_metadata_says_what_was_computed_and_where_the_time_went(serving):
    edge = serving()
    found = unary(edge, "Embed/Embed", tei.EmbedResponse)(tei.EmbedRequest(inputs="été")).metadata
    assert (found.compute_chars, found.compute_tokens) == (3, 3)
    assert found.total_time_ns == 10_000_000
    assert found.tokenization_time_ns == 2_000_000
    assert found.queue_time_ns == 3_000_000
    assert found.inference_time_ns == 4_000_000


def test_every_token_has_a_vector(serving):
    edge = serving(answer=ragged_of(np.array([[1.0, 2.0], [3.0, 4.0]], np.float32)))
    answer = unary(edge, "Embed/EmbedAll", tei.EmbedAllResponse)(tei.EmbedAllRequest(inputs="a"))
    assert [list(row.embeddings) for row in answer.token_embeddings] == [[1, 2], [3, 4]]
    assert edge.frontend.submitted[0][0].output is Output.TOKENS


def test_sparse_weights_are_sent_as_they_are(serving):
    edge = serving(answer=ragged_of(np.array([(5, 0.5), (900, 2.0)], SPARSE_ENTRY)))
    embed = unary(edge, "Embed/EmbedSparse", tei.EmbedSparseResponse)
    answer = embed(tei.EmbedSparseRequest(inputs="a"))
    assert [(each.index, each.value) for each in answer.sparse_embeddings] == [(5, 0.5), (900, 2)]
    assert edge.frontend.submitted[0][0].output is Output.SPARSE


@pytest.mark.parametrize(
    ("raw", "expected"),
    [(True, [("so so", 2.0), ("bad", 1.0), ("good", 0.0)]), (False, None)],
)
def test_labels_come_with_the_highest_score_first(serving, raw, expected):
    edge = serving(CLASSIFIER, scores_of([1.0, 0.0, 2.0]))
    predict = unary(edge, "Predict/Predict", tei.PredictResponse)
    answer = predict(tei.PredictRequest(inputs="a", raw_scores=raw))
    found = [(each.label, each.score) for each in answer.predictions]
    if expected is None:
        assert [label for label, _ in found] == ["so so", "bad", "good"]
        assert sum(score for _, score in found) == pytest.approx(1.0)
    else:
        assert found == expected


def test_a_pair_is_two_texts_and_one_is_a_text(serving):
    edge = serving(RANKER, scores_of([0.0]))
    predict = unary(edge, "Predict/PredictPair", tei.PredictResponse)
    (found,) = predict(tei.PredictPairRequest(inputs=["q", "t"])).predictions
    assert (found.label, found.score) == ("LABEL_0", 0.5)
    predict(tei.PredictPairRequest(inputs=["t"]))
    requests = [request for request, _ in edge.frontend.submitted]
    assert [(each.queries, each.texts) for each in requests] == [(("q",), ("t",)), ((), ("t",))]
    for inputs in ([], ["a", "b", "c"]):
        error = refused(predict, tei.PredictPairRequest(inputs=inputs))
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_ranks_come_with_the_best_text_first(serving):
    edge = serving(RANKER, scores_of([-1.0], [3.0], [0.0]))
    rerank = unary(edge, "Rerank/Rerank", tei.RerankResponse)
    wire = tei.RerankRequest(query="qq", texts=["a", "bb", "c"], raw_scores=True)
    answer = rerank(wire)
    assert [(each.index, each.score) for each in answer.ranks] == [(1, 3), (2, 0), (0, -1)]
    assert not any(each.HasField("text") for each in answer.ranks)
    assert answer.metadata.compute_chars == 4 + 3 * 2
    wire.return_text, wire.raw_scores = True, False
    answer = rerank(wire)
    assert [each.text for each in answer.ranks] == ["bb", "c", "a"]
    assert answer.ranks[1].score == 0.5
    assert edge.frontend.submitted[0][0].queries == ("qq",)


def test_a_stream_of_texts_is_ranked_as_one(serving):
    edge = serving(RANKER, scores_of([1.0], [2.0]))
    rerank = edge.channel.stream_unary(
        "/tei.v1.Rerank/RerankStream",
        request_serializer=tei.RerankStreamRequest.SerializeToString,
        response_deserializer=tei.RerankResponse.FromString,
    )
    wires = [tei.RerankStreamRequest(query="q", text=text, return_text=True) for text in "ab"]
    assert [each.text for each in rerank(iter(wires), timeout=LONG_S).ranks] == ["b", "a"]
    wires[1].query = "other"
    rerank(iter(wires), timeout=LONG_S)
    queries = [request.queries for request, _ in edge.frontend.submitted]
    assert queries == [("q",), ("q", "other")]
    for wrong, code in ((iter([]), "INVALID_ARGUMENT"), (iter(wires * 40), "RESOURCE_EXHAUSTED")):
        with pytest.raises(grpc.RpcError) as failed:
            rerank(wrong, timeout=LONG_S)
        assert failed.value.code().name == code


def test_tokens_have_their_text_and_place_unless_they_are_special(serving):
    tokens = TokenList("café!".encode(), [2, 7, 8, 3], ["[C]", "caf", "##é!", "[S]"], [1, 0, 0, 1],
                       [0, 0, 3, 0], [0, 3, 6, 0])  # fmt: skip
    edge = serving(answer=lambda request: answer_to(request, pieces=[tokens]))
    tokenize = unary(edge, "Tokenize/Tokenize", tei.EncodeResponse)
    found = tokenize(tei.EncodeRequest(inputs="café!", add_special_tokens=True)).tokens
    assert [(each.id, each.text, each.special) for each in found] == [
        (2, "[C]", True),
        (7, "caf", False),
        (8, "é!", False),
        (3, "[S]", True),
    ]
    assert [each.HasField("start") for each in found] == [False, True, True, False]
    assert (found[2].start, found[2].stop) == (3, 6)
    (request, _) = edge.frontend.submitted[0]
    assert (request.output, request.special_tokens) == (Output.PIECES, True)


def test_ids_become_text(serving):
    edge = serving(answer=lambda request: answer_to(request, texts=["a text"]))
    decode = unary(edge, "Tokenize/Decode", tei.DecodeResponse)
    assert decode(tei.DecodeRequest(ids=[5, 6], skip_special_tokens=True)).text == "a text"
    (request, _) = edge.frontend.submitted[0]
    assert request.ids.item(0).tolist() == [5, 6]
    assert (request.output, request.special_tokens) == (Output.TEXT, False)
    for ids in ([], [1000], [2**32 - 1]):
        error = refused(decode, tei.DecodeRequest(ids=ids))
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert fields_at_fault(error) == ["ids"]


@pytest.mark.parametrize(
    ("model", "kind"),
    [(MODEL, "EMBEDDING"), (RANKER, "RERANKER"), (CLASSIFIER, "CLASSIFIER")],
)
def test_info_says_what_is_loaded(serving, model, kind):
    edge = serving(model, version="1.2.3", max_concurrent_requests=77, max_batch_tokens=99)
    info = unary(edge, "Info/Info", tei.InfoResponse)(tei.InfoRequest())
    assert info == tei.InfoResponse(
        version="1.2.3",
        model_id="fake",
        model_dtype="float32",
        model_type=f"MODEL_TYPE_{kind}",
        max_concurrent_requests=77,
        max_input_length=512,
        max_batch_tokens=99,
        max_client_batch_size=64,
        tokenization_workers=1,
    )
