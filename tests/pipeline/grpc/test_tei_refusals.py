"""What TEI's services refuse, and with which status."""

import grpc
import pytest
from edge_fakes import LIMITS, MODEL, answer_to
from penstock.compat import tei_pb2 as tei
from rpc import fields_at_fault, refused, trailer
from tei_edge import CLASSIFIER, RANKER, serving_tei, unary

from stages.errors import Internal, InvalidInput, NotOffered, Overloaded
from stages.requests.answer import ItemError


@pytest.fixture
def serving():
    with serving_tei() as start:
        yield start


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
    assert edge.frontend.submitted == []


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
    assert edge.frontend.submitted == []


def test_a_text_that_is_too_long_is_named_as_the_caller_knows_it(serving):
    wire = tei.EmbedRequest(inputs="a" * (LIMITS.max_item_bytes + 1))
    error = refused(unary(serving(), "Embed/Embed", tei.EmbedResponse), wire)
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert error.details().startswith("inputs: item 0 has ")


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
