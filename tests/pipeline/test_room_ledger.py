"""Room credits that are out."""

from core_builders import batch_of, chunk_of, open_ticket, result_of

from pipeline.room_ledger import RoomLedger
from stages.batching import RoomCredit
from stages.ticket import OpenTickets


def test_it_counts_batches_taken_and_credits_given_back():
    ledger = RoomLedger()
    batch = batch_of(chunk_of(open_ticket(OpenTickets(), 1), [1]))
    ledger.sent("batching", batch, 0.0)
    ledger.received("execution", batch, 0.0)
    ledger.received("execution", batch, 0.0)
    ledger.sent("execution", result_of(batch), 0.0)
    assert ledger.in_hand["execution"] == 2
    ledger.sent("execution", RoomCredit(), 0.0)
    assert ledger.in_hand["execution"] == 1
    assert sum(ledger.in_hand.values()) == 1
