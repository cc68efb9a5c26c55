"""Stage 5: brings each batch's vectors back to the requests they belong to."""

import numpy as np
import pytest
import trio
from core_builders import batch_of, chunk_of, load_of, open_ticket, result_of

from stages.data.ragged_rows import RaggedRows
from stages.errors import Internal, NotServing
from stages.notification import run_notification
from stages.requests.answer import Answer
from stages.requests.open_tickets import OpenTickets


@pytest.fixture
def tickets():
    return OpenTickets()


async def notify(tickets, *results, load=None):
    send, receive = trio.open_memory_channel(len(results))
    for result in results:
        send.send_nowait(result)
    send.close()
    await run_notification(receive, tickets=tickets, load=load or load_of(tickets))


async def test_rows_go_to_the_requests_they_belong_to(tickets):
    heard = {}
    a = open_ticket(tickets, 3, reply=lambda outcome: heard.setdefault("a", outcome))
    b = open_ticket(tickets, 1, reply=lambda outcome: heard.setdefault("b", outcome))
    first = batch_of(chunk_of(a, [3], first=2, label=30), chunk_of(b, [2], label=40))
    second = batch_of(chunk_of(a, [1, 4], first=0, label=10))
    await notify(tickets, result_of(first), result_of(second))
    assert heard["a"].vectors.tolist() == [[10, 1], [11, 4], [30, 3]]
    assert heard["b"].vectors.tolist() == [[40, 2]]
    assert heard["a"].errors == ()


async def test_a_failed_batch_fails_its_requests_and_no_other(tickets):
    heard = {name: [] for name in "abc"}
    a, b, c = (open_ticket(tickets, 1, reply=heard[name].append) for name in "abc")
    failed = batch_of(chunk_of(a, [1]), chunk_of(b, [1]))
    error = RuntimeError("secret detail of the device")
    await notify(
        tickets,
        result_of(failed, vectors=None, error=error),
        result_of(batch_of(chunk_of(c, [1]))),
    )
    for name in "ab":
        (outcome,) = heard[name]
        assert isinstance(outcome, Internal)
        assert "secret" not in str(outcome)
    assert isinstance(heard["c"][0], Answer)


async def test_a_device_that_was_lost_is_no_fault_of_its_requests(tickets):
    heard = []
    ticket = open_ticket(tickets, 1, reply=heard.append)
    error = RuntimeError("CUDA error: an illegal memory access was encountered")
    await notify(tickets, result_of(batch_of(chunk_of(ticket, [1])), vectors=None, error=error))
    assert [type(outcome) for outcome in heard] == [NotServing]


async def test_a_broken_row_fails_only_its_item_with_zeros(tickets):
    heard = []
    other, ticket = open_ticket(tickets, 2), open_ticket(tickets, 3, reply=heard.append)
    batch = batch_of(chunk_of(other, [1, 1]), chunk_of(ticket, [1, 2, 3], label=5))
    vectors = result_of(batch).vectors
    vectors[3] = np.nan
    await notify(tickets, result_of(batch, vectors=vectors, broken=(3,)))
    (answer,) = heard
    assert answer.vectors.tolist() == [[5, 1], [0, 0], [7, 3]]
    assert [(error.index, error.code) for error in answer.errors] == [(1, "INTERNAL")]
    assert np.isnan(vectors[3]).all()  # neighbours share the array


async def test_a_broken_row_is_named_by_its_place_in_the_request(tickets):
    heard = []
    ticket = open_ticket(tickets, 4, reply=heard.append)
    await notify(
        tickets,
        result_of(batch_of(chunk_of(ticket, [1, 1], first=2)), broken=(0, 1)),
        result_of(batch_of(chunk_of(ticket, [1, 1], first=0))),
    )
    assert [error.index for error in heard[0].errors] == [2, 3]


async def test_who_has_gone_is_passed_over(tickets):
    heard = []
    gone = open_ticket(tickets, 1, reply=heard.append)
    living = open_ticket(tickets, 1, reply=heard.append)
    tickets.abandon(gone, 0.0)
    await notify(tickets, result_of(batch_of(chunk_of(gone, [1]), chunk_of(living, [2]))))
    assert [answer.vectors.tolist() for answer in heard] == [[[1, 2]]]


async def test_a_result_after_the_deadline_is_no_answer(tickets, mock_clock):
    heard = []
    ticket = open_ticket(tickets, 1, timeout_s=5.0, now=trio.current_time(), reply=heard.append)
    mock_clock.jump(5.0)
    await notify(tickets, result_of(batch_of(chunk_of(ticket, [1]))))
    assert [outcome.code for outcome in heard] == ["DEADLINE_EXCEEDED"]


async def test_timings_and_latency_are_those_of_the_last_part(tickets, mock_clock):
    start, heard, load = trio.current_time(), [], load_of(tickets)
    ticket = open_ticket(tickets, 2, now=start, reply=heard.append)
    ticket.tokenized_at = start + 1.0
    mock_clock.jump(9.0)
    parts = [batch_of(chunk_of(ticket, [1], first=first)) for first in (0, 1)]
    early = result_of(parts[0], started_at=start + 2, finished_at=start + 3)
    late = result_of(parts[1], started_at=start + 4, finished_at=start + 8)
    await notify(tickets, early, load=load)
    assert load.latencies.p95_s(trio.current_time()) is None
    await notify(tickets, late, load=load)
    timings = heard[0].timings
    assert (timings.queue_s, timings.device_s, timings.total_s) == (3.0, 4.0, 9.0)
    assert load.latencies.p95_s(trio.current_time()) == 9.0


async def test_values_without_a_fixed_size_come_in_the_order_of_the_request(tickets):
    heard = []
    ticket = open_ticket(tickets, 3, reply=heard.append)
    rows = np.arange(8, dtype=np.float32)[:, None]
    first = RaggedRows(rows, np.array([0, 3], np.int32), np.array([2, 1], np.int32))
    second = RaggedRows(rows, np.array([5], np.int32), np.array([3], np.int32))
    late = batch_of(chunk_of(ticket, [1, 1], first=1))
    early = batch_of(chunk_of(ticket, [3], first=0))
    await notify(
        tickets,
        result_of(late, vectors=first, broken=(1,)),
        result_of(early, vectors=second),
    )
    (answer,) = heard
    items = [answer.ragged.item(index).ravel().tolist() for index in range(3)]
    assert items == [[5, 6, 7], [0, 1], []]
    assert [error.index for error in answer.errors] == [2]
    assert answer.vectors.shape == (3, 0)
