import numpy as np
import pytest
from attrs import evolve
from edge_fakes import DIMENSION, SNAPSHOT, FakeBoard, FakeFrontend, answer_to, running_edge
from grpc import StatusCode, insecure_channel
from penstock.compat import gpu_inference_pb2 as pb
from rpc import HEALTH_CHECK, INFER, fields_at_fault, method, refused, trailer

from stages.requests.answer import ItemError

IDS = [[0, 5, 6], [7, 0, 0]]
MASK = [[0, 1, 1], [1, 0, 0]]


def i32(values):
    return np.asarray(values, "<i4").tobytes()


def request(**changes):
    fields = {
        "input_ids_bytes": i32(IDS),
        "attention_mask_bytes": i32(MASK),
        "num_items": 2,
        "seq_len": 3,
    }
    return pb.InferRequest(**(fields | changes))


def masked(*mask):
    return request(attention_mask_bytes=i32(mask))


def rows(lists):
    return [pb.TensorRow(values=row) for row in lists]


@pytest.fixture(scope="module")
def edge():
    with running_edge() as edge:
        yield edge


@pytest.fixture(scope="module")
def infer(edge):
    with insecure_channel(edge.target) as channel:
        yield method(channel, INFER, pb.InferResponse)


def test_bytes_are_answered_with_bytes(edge, infer):
    response = infer(request(request_id="mine", bucket_max_len=7))
    ids = edge.frontend.submitted[-1][0].ids
    assert [ids.item(i).tolist() for i in range(2)] == [[5, 6], [7]]
    vectors = np.frombuffer(response.embeddings_bytes, "<f4").reshape(2, DIMENSION)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    assert response.status == pb.COMPLETED
    assert (response.request_id, response.embedding_dim) == ("mine", DIMENSION)
    timings = response.timings
    assert [timings.queue_wait_ms, timings.encoding_ms, timings.total_ms] == pytest.approx(
        [3, 4, 10]
    )


def test_rows_are_answered_with_rows(infer):
    by_rows = infer(pb.InferRequest(input_ids=rows(IDS), attention_mask=rows(MASK)))
    by_bytes = infer(request())
    assert by_rows.embeddings_bytes == b""
    vectors = np.array([row.values for row in by_rows.embeddings], np.float32)
    assert vectors.tobytes() == by_bytes.embeddings_bytes


BAD = {
    "no items": (pb.InferRequest(), "no items", "input_ids_bytes"),
    "no items, sizes only": (
        pb.InferRequest(num_items=2, seq_len=3),
        "no items",
        "input_ids_bytes",
    ),
    "both forms": (request(input_ids=rows(IDS)), "both bytes and rows", "input_ids"),
    "no mask": (request(attention_mask_bytes=b""), "0 bytes", "attention_mask_bytes"),
    "zero items": (request(num_items=0), "no items", "num_items"),
    "zero width": (request(seq_len=0), "seq_len: 0", "seq_len"),
    "negative": (request(num_items=-2, seq_len=-3), "no items", "num_items"),
    "wrong size": (request(seq_len=4), "24 bytes", "input_ids_bytes"),
    "hole": (
        masked([1, 0, 1], [1, 1, 1]),
        "item 0 has a hole",
        "attention_mask[0]",
    ),
    "all zeros": (
        masked([1, 1, 1], [0, 0, 0]),
        "item 1 is all zeros",
        "attention_mask[1]",
    ),
    "values": (
        masked([1, 1, 1], [1, 3, 1]),
        "item 1 has a value other",
        "attention_mask[1]",
    ),
    "unknown id": (
        request(input_ids_bytes=i32([[0, 1, 1000], [1, 1, 1]])),
        "item 0 has an id outside",
        "input_ids[0]",
    ),
    "ragged rows": (
        pb.InferRequest(input_ids=rows([[1, 2], [3]]), attention_mask=rows([[1, 1], [1]])),
        "item 1 has 1 values",
        "input_ids[1]",
    ),
    "rows without mask": (
        pb.InferRequest(input_ids=rows(IDS)),
        "0 rows for 2 rows",
        "attention_mask",
    ),
    "negative wait": (request(max_wait_ms=-1), "max_wait_ms: -1", "max_wait_ms"),
}


def test_every_bad_input_is_refused_with_its_place(infer):
    for name, (bad, message, place) in BAD.items():
        error = refused(infer, bad)
        assert error.code() is StatusCode.INVALID_ARGUMENT, name
        assert message in error.details(), name
        assert fields_at_fault(error) == [place], name


def test_too_many_items_are_too_many(infer):
    error = refused(infer, request(num_items=65, seq_len=1))
    assert error.code() is StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.parametrize(
    ("max_wait_ms", "timeout_s", "least", "most"),
    [(0, None, 2, 5), (90_000, None, 60, 90), (90_000, 20, 5, 21), (2000, 20, 0, 2)],
    ids=["the default", "longer than the server's", "the client's is shorter", "longer"],
)
def test_the_sooner_of_the_two_deadlines_rules(infer, edge, max_wait_ms, timeout_s, least, most):
    infer(request(max_wait_ms=max_wait_ms), timeout=timeout_s)
    assert least < edge.frontend.submitted[-1][1] <= most


def test_a_wait_that_is_over_is_a_deadline_exceeded():
    with running_edge(FakeFrontend(hold=True)) as edge, insecure_channel(edge.target) as channel:
        error = refused(method(channel, INFER, pb.InferResponse), request(max_wait_ms=30))
        assert error.code() is StatusCode.DEADLINE_EXCEEDED
        edge.frontend.wait_for(lambda frontend: frontend.abandoned)


def test_one_failed_item_fails_the_request():
    def answer(request):
        return answer_to(request, errors=(ItemError(1, "INTERNAL", "not finite"),))

    with (
        running_edge(FakeFrontend(answer=answer)) as edge,
        insecure_channel(edge.target) as channel,
    ):
        error = refused(method(channel, INFER, pb.InferResponse), request())
        assert error.code() is StatusCode.INTERNAL
        assert "item 1" in error.details()


def test_an_overload_is_resource_exhausted_here_and_health_is_still_told():
    snapshot = evolve(
        SNAPSHOT,
        status="overloaded",
        accepting_requests=False,
        queued_tokens=7,
        estimated_drain_s=1.5,
        p95_latency_s=0.25,
        gpu_queue_depth=3,
        retry_after_s=0.5,
    )
    with (
        running_edge(board=FakeBoard(snapshot=snapshot)) as edge,
        insecure_channel(edge.target) as channel,
    ):
        error = refused(method(channel, INFER, pb.InferResponse), request())
        assert error.code() is StatusCode.RESOURCE_EXHAUSTED
        assert trailer(error, "grpc-retry-pushback-ms") == "500"
        health = method(channel, HEALTH_CHECK, pb.HealthResponse)(pb.HealthRequest())
    assert health == pb.HealthResponse(
        status="overloaded",
        accepting_requests=False,
        queued_tokens=7,
        service_rate_tokens_per_sec=1000,
        estimated_drain_time_ms=1500,
        p95_server_side_latency_ms=250,
        gpu_queue_depth=3,
        uptime_seconds=12,
    )
