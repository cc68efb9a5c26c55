"""What both clients say when a call cannot succeed, and when they try again."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from attrs import evolve
from edge_fakes import MODEL, SNAPSHOT, FakeBoard, FakeFrontend, answer_to, running_edge
from penstock.client import Client, ClientError, errors

from stages.errors import DeadlineExceeded, Internal, Overloaded, TooLarge
from stages.requests.answer import ItemError


def embedded(edge, inputs, **options):
    with Client(edge.target) as client:
        return client.embed(inputs, **options)


def test_an_overloaded_server_is_tried_again_when_it_says():
    refusals = iter([0.01, 0.02])

    def answer(request):
        for after_s in refusals:
            return Overloaded("full", reason="latency", retry_after_s=after_s)
        return answer_to(request)

    with running_edge(FakeFrontend(answer=answer)) as edge:
        assert embedded(edge, ["a"]).shape == (1, 8)
        assert len(edge.frontend.submitted) == 3


def test_patience_ends():
    board = FakeBoard(snapshot=evolve(SNAPSHOT, accepting_requests=False, retry_after_s=9))
    with (
        running_edge(board=board) as edge,
        Client(edge.target, patience_s=0.2) as client,
        pytest.raises(errors.Unavailable, match="refused: overloaded") as caught,
    ):
        client.embed(["a"])
    assert caught.value.passing
    assert caught.value.retry_after_s == 9


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (TooLarge("too large"), errors.InvalidRequest),
        (DeadlineExceeded("too late"), errors.DeadlineExceeded),
        (Internal("oh"), errors.ServerFailed),
    ],
)
def test_what_cannot_succeed_is_not_tried_again(error, kind):
    with running_edge(FakeFrontend(answer=lambda _: error)) as edge:
        with pytest.raises(kind, match=str(error)):
            embedded(edge, ["a"])
        assert len(edge.frontend.submitted) == 1


def test_a_wrong_request_names_its_field():
    with (
        running_edge() as edge,
        pytest.raises(errors.InvalidRequest, match="this model has: passage") as caught,
    ):
        embedded(edge, ["a"], prompt_name="nothing")
    assert caught.value.field == "prompt_name"


def test_a_failed_input_is_named_by_its_place_in_the_whole():
    def answer(request):
        if "bad" in request.texts:
            place = request.texts.index("bad")
            return answer_to(request, errors=(ItemError(place, "INTERNAL", "not finite"),))
        return answer_to(request)

    with (
        running_edge(FakeFrontend(answer=answer)) as edge,
        pytest.raises(errors.ItemFailed, match="input 77: not finite") as caught,
    ):
        embedded(edge, ["good"] * 77 + ["bad"])
    assert caught.value.index == 77


def test_all_of_it_has_one_deadline():
    with running_edge(FakeFrontend(hold=True)) as edge:
        with pytest.raises(errors.DeadlineExceeded):
            embedded(edge, ["a"], timeout_s=0.3)
        edge.frontend.wait_for(lambda frontend: frontend.abandoned)


def test_another_model_in_between_is_an_error():
    board = FakeBoard()

    def answer(request):
        if "b" in request.texts:
            board.model = evolve(MODEL, fingerprint="f" * 16)
        return answer_to(request)

    with (
        running_edge(FakeFrontend(answer=answer), board) as edge,
        Client(edge.target, calls_at_once=1) as client,
    ):
        with pytest.raises(errors.ModelChanged, match="0123456789abcdef"):
            client.embed(["a"] * 64 + ["b"] + ["c"] * 64)
        with pytest.raises(errors.ModelChanged):
            list(client.stream(["a"], fingerprint="0" * 16))


def test_no_server_is_said_in_words():
    with running_edge() as edge:
        target = edge.target
    with (
        Client(target) as client,
        pytest.raises(errors.Unreachable, match=f"at {target}: Connection refused"),
    ):
        client.info()


def test_a_server_that_goes_away_is_said():
    frontend = FakeFrontend(hold=True)
    with running_edge(frontend) as edge, Client(edge.target, patience_s=0.1) as client:

        def stop():
            frontend.wait_for(lambda frontend: frontend.held)
            edge.stop()

        with ThreadPoolExecutor(1) as threads:
            stopped = threads.submit(stop)
            with pytest.raises((errors.Unavailable, errors.Unreachable)):
                client.embed(["a"])
            stopped.result()


@pytest.mark.parametrize("target", ["", "x:y", ":5", "host:0", "host:70000"])
def test_what_is_no_address_is_said(target):
    with pytest.raises(errors.InvalidRequest, match="give host:port"):
        Client(target)


def test_nothing_to_embed_is_an_error():
    with running_edge() as edge, pytest.raises(ClientError, match="no inputs"):
        embedded(edge, [])
