"""What is in a batch, and how much: example by example."""

import numpy as np
import pytest
from attrs import evolve
from core_builders import chunk_of, open_ticket
from planner_builders import add, cost_of, planner_of

from stages.load.cost_model import CostModel
from stages.messages.batch import Layout
from stages.requests.output import Output


def test_packed_takes_what_is_next_whatever_its_length():
    tickets, planner = planner_of(max_tokens=3 + 16 + 8)
    for length in (3, 16, 8, 4, 15):
        add(tickets, planner, [length])
    batch = planner.next_batch(0.0, device_idle=False)
    assert [chunk.tokens for chunk in batch.chunks] == [3, 16, 8]
    assert batch.padding == 0


def test_packed_splits_a_request_where_the_budget_ends():
    tickets, planner = planner_of(max_tokens=10)
    add(tickets, planner, [4, 4, 4, 4, 4])
    batches = [planner.next_batch(0.0, device_idle=True) for _ in range(3)]
    assert [batch.chunks[0].positions.tolist() for batch in batches] == [[0, 1], [2, 3], [4]]
    assert planner.next_batch(0.0, device_idle=True) is None


@pytest.mark.parametrize(
    ("items", "rows"), [(1, [2]), (2, [2]), (3, [4]), (5, [4, 2]), (8, [8]), (9, [8, 2])]
)
def test_padded_rows_round_up_to_a_fixed_size(items, rows):
    tickets, planner = planner_of(Layout.PADDED, batch_sizes=(2, 4, 8), max_items=8)
    lengths = [3] * items
    if items == 5:  # more than fits 4 and fewer than 8
        planner.limits = evolve(planner.limits, max_tokens=7 * 4)
    add(tickets, planner, lengths)
    batches = [planner.next_batch(0.0, device_idle=True) for _ in rows]
    assert [batch.rows for batch in batches] == rows
    assert sum(batch.items for batch in batches) == items
    assert planner.held_items == 0


@pytest.mark.parametrize("layout", Layout)
def test_a_slow_device_gets_small_batches_and_a_very_slow_one_single_items(layout):
    for rate, items in ((0.0, 8), (16.0, 4), (4.0, 1), (0.5, 1)):
        tickets, planner = planner_of(layout)
        add(tickets, planner, [4] * 8)
        batch = planner.next_batch(0.0, device_idle=True, cost=cost_of(rate))
        assert batch.items == items, rate


@pytest.mark.parametrize("layout", Layout)
def test_long_texts_make_a_batch_shorter_than_short_ones(layout):
    cost = CostModel(0.0, 1 / 64, 1 / 512)
    for length, tokens in ((2, 16), (4, 32), (16, 16)):  # 1.0 s; 8 items are the most
        tickets, planner = planner_of(layout)
        add(tickets, planner, [length] * 8, bucket=max(4, length))
        batch = planner.next_batch(0.0, device_idle=True, cost=cost)
        assert batch.tokens == tokens, length


@pytest.mark.parametrize("layout", Layout)
def test_what_every_batch_costs_counts_in_its_time(layout):
    for fixed_s, items in ((0.0, 4), (0.25, 3), (0.5, 2), (5.0, 2)):  # half is for the work
        tickets, planner = planner_of(layout)
        add(tickets, planner, [4] * 8)
        cost = CostModel(fixed_s, 1 / 16, 0.0)
        assert planner.next_batch(0.0, device_idle=False, cost=cost).items == items


@pytest.mark.parametrize("layout", Layout)
def test_an_item_above_every_budget_runs_alone(layout):
    tickets, planner = planner_of(layout, max_tokens=5)
    add(tickets, planner, [16, 16])
    add(tickets, planner, [1])
    items = [planner.next_batch(9.0, device_idle=False).items for _ in range(3)]
    assert items == [1, 1, 1]


def test_the_ids_in_a_batch_are_those_that_came_in():
    tickets, planner = planner_of(max_tokens=6)
    ticket = open_ticket(tickets, 3)
    chunk = chunk_of(ticket, [3, 3, 3])
    planner.add(chunk, 0.0)
    for _ in range(2):
        batch = planner.next_batch(0.0, device_idle=True)
        assert all(np.shares_memory(part.ids.flat, chunk.ids.flat) for part in batch.chunks)


def test_a_lowered_ceiling_holds_from_the_next_batch_on():
    ceiling = [64]
    tickets, planner = planner_of(ceiling=lambda: ceiling[0])
    for _ in range(3):
        planner.add(chunk_of(open_ticket(tickets, 4), [8, 8, 8, 8]), 0.0)
    assert planner.next_batch(0.0, device_idle=True).tokens == 64
    ceiling[0] = 16
    assert planner.next_batch(0.0, device_idle=True).tokens == 16


@pytest.mark.parametrize("layout", Layout)
def test_a_batch_is_of_one_output(layout):
    tickets, planner = planner_of(layout)
    asked = [Output.POOLED, Output.TOKENS, Output.POOLED, Output.TOKENS]
    for output in asked:
        ticket = open_ticket(tickets, 1)
        planner.add(evolve(chunk_of(ticket, [4]), output=output), 0.0)
    batches = [planner.next_batch(0.0, device_idle=True) for _ in range(2)]
    outputs = [[chunk.output for chunk in batch.chunks] for batch in batches]
    assert sorted(outputs) == [[Output.POOLED] * 2, [Output.TOKENS] * 2]
    assert planner.next_batch(0.0, device_idle=True) is None
