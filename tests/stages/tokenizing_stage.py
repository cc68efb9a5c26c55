"""A tokenizing stage with its channels, for tests."""

import trio
from core_builders import drain, submission_of

from stages.load.cost_model import Work
from stages.load.token_ratio import TokenRatio
from stages.load.tokenizer_load import TokenizerLoad
from stages.requests.open_tickets import OpenTickets
from stages.requests.request import EmbedRequest
from stages.text.token_rules import TokenRules
from stages.tokenizing import run_tokenizing

RULES = TokenRules(max_tokens=16)


def texts_request(*texts, **options):
    return EmbedRequest("r", texts=texts, **options)


class Stage:
    """A running tokenizing stage with its channels."""

    def __init__(self, tokenizer, rules=RULES):
        self.tickets = OpenTickets()
        self.admit, self._admitted = trio.open_memory_channel(100)
        self._tokenized, self.out = trio.open_memory_channel(1000)
        self.tokenizer = tokenizer
        self.rules = rules
        self.ratio = TokenRatio()
        self.load = TokenizerLoad()
        self.tickets.on_end(self.load.ended)

    async def run(self):
        async with self._tokenized:
            await run_tokenizing(
                self._admitted,
                self._tokenized,
                tickets=self.tickets,
                rules=self.rules,
                tokenizer=self.tokenizer,
                ratio=self.ratio,
                load=self.load,
            )

    def hand_in(self, request, **options):
        submission = submission_of(self.tickets, request, **options)
        self.tickets.reserve(submission.ticket, Work(10**6, 10**9))
        self.admit.send_nowait(submission)
        return submission.ticket

    async def run_to_the_end(self):
        self.admit.close()
        await self.run()
        return drain(self.out)


def ids_by_position(messages):
    """What was sent for each item of a request."""
    return {
        int(position): message.ids.item(index).tolist()
        for message in messages
        for index, position in enumerate(message.positions)
    }
