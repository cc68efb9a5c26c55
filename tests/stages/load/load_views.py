"""What admission sees of the load, for tests."""

from core_builders import open_ticket

from stages.load.cost_model import CostModel, Work
from stages.load.demand import Demand
from stages.load.load_view import LoadView
from stages.load.tokenizer_load import TokenizerLoad
from stages.requests.open_tickets import OpenTickets


def view(queued, tokens_per_s, p95_s=None, **changes):
    """A load on a device that runs so many tokens a second; 0 while that is unknown."""
    cost = CostModel(0.0, 1.0 / tokens_per_s, 0.0) if tokens_per_s else None
    figures = {"full_tokens": 10**9, "full_s": 1.0} | changes
    return LoadView(Work(queued, queued), cost, p95_s, **figures)


def demand(tokens, squares=1, **options):
    return Demand(Work(tokens, squares), **options)


def texts_waiting(*sizes, queued=10):
    """A load with requests that have so many bytes left for a tokenizer of 2 MB/s."""
    tokenizer = TokenizerLoad()
    for size in sizes:
        tokenizer.admitted(open_ticket(OpenTickets(), 1), size)
    return view(queued, 1e6, tokenizer=tokenizer)


def texts(size, **options):
    return demand(1, text_bytes=size, **options)
