"""What work costs on a device."""

import json
from math import inf, nan

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from stages.load.cost_model import NO_WORK, CostModel, CostSample, Work

LENGTHS = st.lists(st.integers(1, 8192), max_size=50)
SECONDS = st.one_of(st.just(0.0), st.floats(1e-9, 10.0))
MODELS = st.builds(CostModel, SECONDS, SECONDS, SECONDS)
SHAPES = [(texts, length) for texts in (1, 8, 64) for length in (16, 64, 256, 512)]
# each term is a real share of some shape's time, as on a machine that is to be measured
PLAUSIBLE = st.builds(
    CostModel,
    fixed_s=st.floats(1e-3, 1e-2),
    token_s=st.floats(1e-4, 1e-3),
    square_s=st.floats(1e-6, 1e-5),
)


def sampled(model, spread=lambda: 1.0, shapes=SHAPES):
    works = [Work.of([length] * texts) for texts, length in shapes]
    return [CostSample(work, model.seconds(work) * spread()) for work in works]


@given(LENGTHS, LENGTHS)
def test_works_add_up_and_can_be_taken_away(some, others):
    together = Work.of(some) + Work.of(others)
    assert together == Work.of(some + others)
    assert together - Work.of(others) == Work.of(some)
    assert Work.of(some) == Work(sum(some), sum(length**2 for length in some))


@given(MODELS, LENGTHS, st.integers(1, 512))
def test_more_work_never_takes_less_time(model, lengths, more):
    before, after = Work.of(lengths), Work.of([*lengths, more])
    assert 0.0 <= model.seconds(before) <= model.seconds(after)
    assert model.seconds(after) <= model.seconds(after, batches=2)


@given(MODELS, st.integers(1, 256))
def test_one_long_text_costs_at_least_what_two_halves_cost(model, half):
    halves, whole = Work.of([half, half]), Work.of([2 * half])
    assert model.seconds(halves) <= model.seconds(whole)


@given(PLAUSIBLE)
def test_the_fit_finds_what_the_samples_were_made_of(model):
    found = CostModel.fit(sampled(model))
    for name, value in model.as_dict().items():
        assert found.as_dict()[name] == pytest.approx(value, rel=1e-6)
    assert found.largest_error(sampled(model)) < 1e-6


@given(PLAUSIBLE, st.data())
def test_the_fit_predicts_the_truth_within_the_noise_of_its_samples(model, data):
    noise = st.floats(0.95, 1.05)
    found = CostModel.fit(sampled(model, lambda: data.draw(noise)))
    for sample in sampled(model):
        assert found.seconds(sample.work) == pytest.approx(sample.seconds, rel=0.12)


@given(
    st.lists(
        st.builds(
            CostSample,
            st.lists(st.integers(1, 512), min_size=1, max_size=20).map(Work.of),
            st.floats(1e-5, 10.0),
        ),
        min_size=1,
        max_size=12,
    )
)
def test_no_coefficient_is_ever_negative(samples):
    found = CostModel.fit(samples)
    assert min(found.as_dict().values()) >= 0.0
    assert max(found.as_dict().values()) > 0.0


@given(PLAUSIBLE, st.data())
def test_no_other_model_is_nearer_to_the_samples(model, data):
    samples = sampled(model, lambda: data.draw(st.floats(0.5, 2.0)))
    found = CostModel.fit(samples)
    name = data.draw(st.sampled_from(["fixed_s", "token_s", "square_s"]))
    value = found.as_dict()[name] * data.draw(st.floats(0.8, 1.25))
    assume(value >= 0.0)
    other = CostModel(**(found.as_dict() | {name: value}))
    assert error_of(found, samples) <= error_of(other, samples) + 1e-9


def error_of(model, samples):
    return sum((model.seconds(each.work) / each.seconds - 1.0) ** 2 for each in samples)


def test_small_batches_are_predicted_as_well_as_large_ones():
    """Where the truth bends, a plain fit would give up the small ones."""
    bent = [
        CostSample(Work.of([16] * texts), 0.003 + 1e-4 * 16 * texts * (1.2 if texts > 8 else 1.0))
        for texts in (1, 2, 8, 64, 512)
    ]
    found = CostModel.fit(bent)
    assert found.largest_error(bent) < 0.2


def test_a_fit_needs_a_sample():
    with pytest.raises(ValueError, match="at least one"):
        CostModel.fit([])


@given(MODELS)
def test_a_model_survives_json(model):
    again = json.loads(json.dumps(model.as_dict() | {"other": "things"}))
    assert CostModel.from_dict(again) == model


@pytest.mark.parametrize("value", [None, "1", -1.0, inf, nan])
def test_json_of_something_else_is_refused(value):
    values = CostModel(1.0, 1.0, 1.0).as_dict() | {"token_s": value}
    with pytest.raises(ValueError, match="token_s"):
        CostModel.from_dict(values)


def test_the_rate_is_that_of_large_batches_of_one_length():
    assert CostModel(9.0, 0.01, 0.001).tokens_per_s(10) == pytest.approx(50.0)
    assert CostModel(1.0, 0.0, 0.0).tokens_per_s(10) == 0.0


@given(MODELS, st.floats(0.1, 10.0))
def test_scaled_takes_so_many_times_as_long(model, ratio):
    work = Work(100, 5000)
    scaled = model.scaled(ratio)
    assert scaled.seconds(work, 3) == pytest.approx(model.seconds(work, 3) * ratio)
    assert scaled.seconds(NO_WORK, 0) == 0.0
