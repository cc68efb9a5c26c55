"""Scenarios that a seed draws."""

from simulations.random_scenario import scenario_of


def test_a_seed_is_always_the_same_scenario_and_others_differ_in_their_features():
    scenarios = [scenario_of(seed) for seed in range(40)]
    assert scenarios == [scenario_of(seed) for seed in range(40)]
    kinds = [{type(fault) for fault in scenario.faults} for scenario in scenarios]
    assert min(map(len, kinds)) <= 1
    assert max(map(len, kinds)) >= 4
    assert {scenario.server.batching for scenario in scenarios} == {"packed", "bucketed"}
