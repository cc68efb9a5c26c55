"""How many bytes the tokenizer is given for each item."""

import pytest
from core_builders import ids_request
from hypothesis import given
from hypothesis import strategies as st

from stages.requests.output import Output
from stages.requests.request import EmbedRequest
from stages.text.text_sizes import byte_length, text_sizes
from stages.text.token_rules import TokenRules

RULES = TokenRules(max_tokens=16, prompts={"query": "ask: "})


@given(st.text())
def test_byte_length_is_that_of_utf8(text):
    assert byte_length(text) == len(text.encode())


def test_half_a_surrogate_pair_has_a_length_too():
    assert byte_length("\ud800") == 3


@pytest.mark.parametrize(
    ("request_", "sizes"),
    [
        (EmbedRequest("r", texts=("é", "abc")), [2, 3]),
        (EmbedRequest("r", texts=("é", "abc"), prompt_name="query"), [5 + 2, 5 + 3]),
        (EmbedRequest("r", texts=("é", "abc"), queries=("why",)), [3 + 2, 3 + 3]),
        (EmbedRequest("r", texts=("é", "abc"), queries=("why", None)), [3 + 2, 3]),
        (ids_request([7] * 5), []),
    ],
    ids=["texts", "with a prompt", "with one query", "some of them pairs", "ids"],
)
def test_an_item_counts_with_what_stands_before_it(request_, sizes):
    assert list(text_sizes(request_, RULES)) == sizes


def test_ids_that_are_to_become_texts_count_four_bytes_each():
    request = ids_request([7] * 5, [8], output=Output.TEXT)
    assert list(text_sizes(request, RULES)) == [20, 4]
