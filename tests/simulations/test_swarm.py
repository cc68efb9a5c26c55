"""Random scenarios hold; those that once did not, in particular."""

import pytest

from simulations import swarm
from simulations.simulation import simulate

SEEDS = [*range(6), *swarm.regressions()]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_scenario_of_the_swarm_holds(seed):
    assert swarm.run(seed).violations.sentences == []


def test_a_seed_that_fails_goes_into_the_list_once(tmp_path, monkeypatch, capsys):
    listed = tmp_path / "regressions.txt"
    listed.write_text("# seeds\n")
    monkeypatch.setattr(swarm, "REGRESSIONS", listed)
    monkeypatch.setattr(swarm, "failure_of", lambda seed: f"seed {seed} is bad" * (seed % 2))
    for _ in range(2):
        assert swarm.search(range(4), apply=map) == 2
    assert listed.read_text() == "# seeds\n1 seed 1 is bad\n3 seed 3 is bad\n"
    assert swarm.regressions() == [1, 3]
    assert "python -m simulations.swarm --only 3" in capsys.readouterr().out


def test_an_exception_is_a_failure_too(monkeypatch):
    monkeypatch.setattr(swarm, "run", lambda seed: simulate(None, seed=seed))
    assert "AttributeError" in swarm.failure_of(1)
