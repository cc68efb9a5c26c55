"""A planner, and what is put into it, for tests."""

from core_builders import chunk_of, limits_of, open_ticket

from stages.load.cost_model import CostModel
from stages.messages.batch import Layout
from stages.planner.batch_planner import BatchPlanner
from stages.requests.open_tickets import OpenTickets


def planner_of(layout=Layout.PACKED, **changes):
    tickets = OpenTickets()
    return tickets, BatchPlanner(limits_of(layout, **changes), tickets.alive)


def cost_of(tokens_per_s):
    """A device without fixed costs; None for 0: unknown."""
    return CostModel(0.0, 1 / tokens_per_s, 0.0) if tokens_per_s else None


def add(tickets, planner, lengths, now=0.0, timeout_s=1e9, bucket=None, **options):
    """Queue a new request of one bucket; its ticket."""
    ticket = open_ticket(tickets, len(lengths), now=now, timeout_s=timeout_s, **options)
    assert planner.add(chunk_of(ticket, lengths, bucket=bucket), now) is None
    return ticket
