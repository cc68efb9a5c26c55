"""How many bytes the tokenizer is given for each item of a request. Pure."""

from collections.abc import Iterator
from itertools import cycle
from operator import add

from stages.data.ragged_input import ID_BYTES
from stages.requests.request import EmbedRequest
from stages.text.token_rules import TokenRules


def text_sizes(request: EmbedRequest, rules: TokenRules) -> Iterator[int]:
    """The bytes of each of the items that the tokenizer gets: texts with their prompt or query.

    Of ids only those that are to become texts; no others get there.
    """
    texts, queries = request.texts or (), request.queries
    if request.ids is not None:
        if request.output.by_tokenizer:
            yield from (ID_BYTES * request.ids.lengths).tolist()
        return
    prompt = rules.prompt(request.prompt_name)
    before = [prompt if query is None else query for query in queries or (None,)]
    yield from map(add, map(byte_length, texts), cycle(map(byte_length, before)))


def byte_length(text: str) -> int:
    """Length of ``text`` in UTF-8, in bytes; also of one that UTF-8 has no form for.

    Such a text is the tokenizer's to refuse: here it would take the stage down.
    """
    return len(text) if text.isascii() else len(text.encode(errors="surrogatepass"))
