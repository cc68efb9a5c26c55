"""TEI's services on an edge of their own: what they hand in, and how they end."""

from itertools import count
from types import SimpleNamespace

import grpc
import numpy as np
import pytest
from attrs import evolve
from edge_fakes import LIMITS, MODEL, FakeBoard, FakeDesk, answer_to, running_edge
from penstock.compat import tei_pb2 as tei
from rpc import fields_at_fault, method, refused, trailer

from pipeline.grpc.limits import EdgeLimits
from stages.answer import ItemError
from stages.errors import Internal, InvalidInput, NotOffered, Overloaded
from stages.messages import Side
from stages.output import Output
from stages.ragged_rows import SPARSE_ENTRY, RaggedRows
from stages.tokenizer_work import TokenList

ALL = evolve(MODEL, outputs=(Output.POOLED, Output.TOKENS, Output.SPARSE))
RANKER = evolve(MODEL, outputs=(Output.SCORES,), labels=("LABEL_0",), dimension=1, pooling="")
CLASSIFIER = evolve(RANKER, labels=("bad", "good", "so so"), dimension=3)
LONG_S = 60


def stream(channel, path, request, response):
    return channel.stream_stream(
        f"/tei.v1.{path}",
        request_serializer=request.SerializeToString,
        response_deserializer=response.FromString,
    )


def unary(edge, path, response):
    return method(edge.channel, f"/tei.v1.{path}", response)


@pytest.fixture
def serving():
    """Starts edges with a channel each."""
    opened = []

    def start(model=ALL, answer=answer_to, limits=LIMITS, **options):
        desk = options.pop("desk", None) or FakeDesk(answer)
        if "edge_limits" in options:
            options["limits"] = options.pop("edge_limits")
        manager = running_edge(desk, FakeBoard(model=model, limits=limits), **options)
        edge = manager.__enter__()
        channel = grpc.insecure_channel(edge.target)
        opened.append((manager, channel))
        return SimpleNamespace(channel=channel, desk=edge.desk, in_trio=edge.in_trio)

    yield start
    for manager, channel in reversed(opened):
        channel.close()
        manager.__exit__(None, None, None)


def scores_of(*rows):
    return lambda request: answer_to(request, vectors=np.array(rows, np.float32))


def ragged_of(*items):
    """An answer of these rows, in another order and with a gap."""
    parts = [np.asarray(item) for item in items[::-1]]
    rows = np.concatenate([parts[0][:0], *(np.concatenate([part, part[:1]]) for part in parts)])
    sizes = [len(part) + 1 for part in parts]
    starts = (np.cumsum(sizes) - sizes)[::-1].astype(np.int32)
    lengths = np.array([len(item) for item in items], np.int32)
    return lambda request: answer_to(request, ragged=RaggedRows(rows, starts, lengths))


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
    (plain, timeout_s), (other, _) = edge.desk.submitted
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
    assert edge.desk.submitted[0][0].output is Output.TOKENS


def test_sparse_weights_are_sent_as_they_are(serving):
    edge = serving(answer=ragged_of(np.array([(5, 0.5), (900, 2.0)], SPARSE_ENTRY)))
    embed = unary(edge, "Embed/EmbedSparse", tei.EmbedSparseResponse)
    answer = embed(tei.EmbedSparseRequest(inputs="a"))
    assert [(each.index, each.value) for each in answer.sparse_embeddings] == [(5, 0.5), (900, 2)]
    assert edge.desk.submitted[0][0].output is Output.SPARSE


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
    requests = [request for request, _ in edge.desk.submitted]
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
    assert edge.desk.submitted[0][0].queries == ("qq",)


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
    queries = [request.queries for request, _ in edge.desk.submitted]
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
    (request, _) = edge.desk.submitted[0]
    assert (request.output, request.special_tokens) == (Output.PIECES, True)


def test_ids_become_text(serving):
    edge = serving(answer=lambda request: answer_to(request, texts=["a text"]))
    decode = unary(edge, "Tokenize/Decode", tei.DecodeResponse)
    assert decode(tei.DecodeRequest(ids=[5, 6], skip_special_tokens=True)).text == "a text"
    (request, _) = edge.desk.submitted[0]
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


@pytest.mark.parametrize(
    ("model", "path", "wire"),
    [
        (RANKER, "Embed/Embed", tei.EmbedRequest(inputs="a")),
        (RANKER, "Embed/EmbedAll", tei.EmbedAllRequest(inputs="a")),
        (MODEL, "Embed/EmbedSparse", tei.EmbedSparseRequest(inputs="a")),
        (MODEL, "Predict/Predict", tei.PredictRequest(inputs="a")),
        (MODEL, "Predict/PredictPair", tei.PredictPairRequest(inputs=["a", "b"])),
        (MODEL, "Rerank/Rerank", tei.RerankRequest(query="a", texts=["b"])),
        (CLASSIFIER, "Rerank/Rerank", tei.RerankRequest(query="a", texts=["b"])),
    ],
)
def test_what_the_model_cannot_do_is_unimplemented(serving, model, path, wire):
    edge = serving(model)
    error = refused(unary(edge, path, tei.EmbedResponse), wire)
    assert error.code() is grpc.StatusCode.UNIMPLEMENTED
    assert edge.desk.submitted == []


@pytest.mark.parametrize(
    ("path", "wire", "field"),
    [
        ("Embed/Embed", tei.EmbedRequest(), "inputs"),
        ("Embed/Embed", tei.EmbedRequest(inputs="a", dimensions=9), "dimensions"),
        ("Embed/Embed", tei.EmbedRequest(inputs="a", dimensions=0), "dimensions"),
        ("Embed/Embed", tei.EmbedRequest(inputs="a", prompt_name="none"), "prompt_name"),
        (
            "Embed/EmbedAll",
            tei.EmbedAllRequest(inputs="a", truncation_direction=7),
            "truncation_direction",
        ),
        ("Tokenize/Tokenize", tei.EncodeRequest(), "inputs"),
    ],
)
def test_bad_input_is_named(serving, path, wire, field):
    edge = serving()
    error = refused(unary(edge, path, tei.EmbedResponse), wire)
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert fields_at_fault(error) == [field]
    assert edge.desk.submitted == []


def test_rerank_without_texts_or_with_a_pair_of_nothing_is_refused(serving):
    edge = serving(RANKER)
    rerank = unary(edge, "Rerank/Rerank", tei.RerankResponse)
    for wire in (tei.RerankRequest(query="q"), tei.RerankRequest(texts=["a", ""])):
        assert refused(rerank, wire).code() is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize(
    ("outcome", "code"),
    [
        (Overloaded("full", reason="latency", retry_after_s=2), "RESOURCE_EXHAUSTED"),
        (InvalidInput("too long", field="truncate"), "INVALID_ARGUMENT"),
        (NotOffered("no pairs"), "UNIMPLEMENTED"),
        (Internal("broken"), "INTERNAL"),
    ],
)
def test_an_outcome_has_its_status(serving, outcome, code):
    edge = serving(answer=lambda _: outcome)
    error = refused(unary(edge, "Embed/Embed", tei.EmbedResponse), tei.EmbedRequest(inputs="a"))
    assert error.code().name == code
    assert (trailer(error, "grpc-retry-pushback-ms") is not None) == (code == "RESOURCE_EXHAUSTED")


def test_an_item_that_failed_in_the_device_fails_the_call(serving):
    broken = (ItemError(0, "INTERNAL", "the vector is not finite"),)
    edge = serving(answer=lambda request: answer_to(request, errors=broken))
    error = refused(unary(edge, "Embed/Embed", tei.EmbedResponse), tei.EmbedRequest(inputs="a"))
    assert (error.code(), error.details()) == (
        grpc.StatusCode.INTERNAL,
        "item 0: the vector is not finite",
    )


def test_a_stream_is_answered_in_its_order_whatever_finishes_first(serving):
    desk = FakeDesk(hold=True)
    edge = serving(desk=desk)
    embed = stream(edge.channel, "Embed/EmbedStream", tei.EmbedRequest, tei.EmbedResponse)
    wires = [tei.EmbedRequest(inputs="x" * size, normalize=False) for size in range(1, 6)]
    answers = embed(iter(wires), timeout=LONG_S)
    desk.wait_for(lambda desk: len(desk.held) == 5)
    desk.held = desk.held[::-1]
    edge.in_trio(desk.let_go)
    assert [answer.embeddings[0] for answer in answers] == [2.0, 3.0, 4.0, 5.0, 6.0]
    assert answers.code() is grpc.StatusCode.OK


def test_a_stream_has_a_bounded_number_in_flight(serving):
    desk = FakeDesk(hold=True)
    edge = serving(desk=desk, max_stream_requests=3)
    embed = stream(edge.channel, "Embed/EmbedStream", tei.EmbedRequest, tei.EmbedResponse)
    sizes = count(1)
    wires = (tei.EmbedRequest(inputs="x" * next(sizes), normalize=False) for _ in range(20))
    answers = embed(wires, timeout=LONG_S)
    found = []
    while len(found) < 20:
        done = len(found)
        desk.wait_for(lambda desk, done=done: len(desk.submitted) == min(20, done + 3))
        assert len(desk.held) <= 3
        edge.in_trio(desk.let_go)
        found.extend(next(answers).embeddings[0] for _ in range(min(3, 20 - done)))
    assert found == [float(size + 1) for size in range(1, 21)]


def test_of_large_answers_no_more_are_in_flight_than_there_is_room_for(serving):
    vectors = ragged_of(np.ones((100, 8), np.float32))
    desk = FakeDesk(vectors, hold=True)
    limits = EdgeLimits(max_held_bytes=5 * 512 * 8 * 4)  # five answers of the longest text
    edge = serving(desk=desk, limits=LIMITS, edge_limits=limits)
    embed = stream(edge.channel, "Embed/EmbedAllStream", tei.EmbedAllRequest, tei.EmbedAllResponse)
    wires = [tei.EmbedAllRequest(inputs="x" * 600) for _ in range(9)]
    answers, found = embed(iter(wires), timeout=LONG_S), 0
    while found < 9:
        desk.wait_for(lambda desk, found=found: len(desk.submitted) == min(9, found + 2))
        edge.in_trio(desk.let_go)
        for _ in range(min(2, 9 - found)):
            assert len(next(answers).token_embeddings) == 100
            found += 1


def test_an_error_ends_a_stream_after_the_answers_before_it(serving):
    edge = serving()
    embed = stream(edge.channel, "Embed/EmbedStream", tei.EmbedRequest, tei.EmbedResponse)
    wires = [tei.EmbedRequest(inputs=text, normalize=False) for text in ("a", "bb", "", "c")]
    answers, found = embed(iter(wires), timeout=LONG_S), []
    with pytest.raises(grpc.RpcError) as failed:
        found.extend(answer.embeddings[0] for answer in answers)
    assert (found, failed.value.code()) == ([2.0, 3.0], grpc.StatusCode.INVALID_ARGUMENT)


def test_a_stream_for_what_the_model_cannot_do_is_unimplemented(serving):
    edge = serving(MODEL)
    path = "Predict/PredictStream"
    predict = stream(edge.channel, path, tei.PredictRequest, tei.PredictResponse)
    with pytest.raises(grpc.RpcError) as failed:
        list(predict(iter([tei.PredictRequest(inputs="a")]), timeout=LONG_S))
    assert failed.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_a_client_that_leaves_gives_up_what_it_asked(serving):
    desk = FakeDesk(hold=True)
    edge = serving(desk=desk)
    embed = stream(edge.channel, "Embed/EmbedStream", tei.EmbedRequest, tei.EmbedResponse)
    call = embed(iter([tei.EmbedRequest(inputs="a"), tei.EmbedRequest(inputs="b")]))
    desk.wait_for(lambda desk: len(desk.held) == 2)
    call.cancel()
    desk.wait_for(lambda desk: len(desk.abandoned) == 2)
