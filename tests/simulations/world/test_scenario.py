"""A scenario that cannot be run is refused by line, key, value and what is allowed."""

import json
import tomllib
from pathlib import Path

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from simulations.simulation import simulate
from simulations.world.arrivals import Poisson
from simulations.world.lengths import Mix
from simulations.world.scenario import parse_scenario, read_scenario
from simulations.world.scenario_errors import ScenarioError, line_of

SHIPPED = sorted(Path(__file__).parents[3].glob("simulations/scenarios/*.toml"))
GOOD = """\
duration_s = 60  # line 1

[server]
max_batch_size = 64

[[clients]]
name = "search"
arrivals = { kind = "poisson", rate_per_s = 20 }
lengths = { kind = "mix", parts = [
  { share = 3, of = { kind = "fixed", value = 8 } },
  { share = 1, of = { kind = "uniform", low = 100, high = 200 } },
] }

[[clients]]
name = "import"
lane = "bulk"

[clients.arrivals]
kind = "bursts"
calls = 10
every_s = 5

[[faults]]
kind = "stage_crash"
share = 0.01
stage = "batching"
"""
BAD = [
    ("duration_s = 60", "duration_s = 0", 1, "must be a number above 0"),
    ("duration_s = 60", "duration = 60", 1, "'duration' is not known here; known are duration_s"),
    ("duration_s = 60  # line 1\n", "", 1, "'duration_s' is missing"),
    ("max_batch_size = 64", "max_batch_size = 0", 4, "must be a whole number from 1 to 65536"),
    ("max_batch_size = 64", "max_batsh = 1", 4, "'max_batsh' is not a setting"),
    ("max_batch_size = 64", "min_item_delay_ms = 99", 4, "must not be above deadline_wait_ms"),
    ('name = "search"', "", 6, "'name' is missing"),
    ('name = "import"', 'name = "search"', 15, "two clients are called 'search'"),
    ("rate_per_s = 20", "rate_per_s = -1", 8, "clients.arrivals: rate_per_s = -1 is not allowed"),
    ('kind = "poisson"', 'kind = "poison"', 8, "kind = 'poison' is not known; known are poisson"),
    ("value = 8", "value = 0", 9, "must be a whole number from 1"),
    ("low = 100", "low = 300", 9, "low = 300 is above high = 200"),
    ('lane = "bulk"', 'lane = "slow"', 16, "must be interactive or bulk"),
    ("calls = 10", "calls = 1.5", 20, "must be a whole number"),
    ('stage = "batching"', 'stage = "x"', 26, "must be nothing, admission, tokenizing"),
    ("share = 0.01", "share = 1", 25, "leaves no stage alive"),
    ("share = 0.01", "at_s = 60\nshare = 0.01", 25, "faults: at_s = 60 is not allowed: must be be"),
    ('lane = "bulk"', 'lane = "bulk"\nx = 1', 17, "'x' is not known here"),
    ("[server]", "fleet = { speeds = [] }\n[server]", 3, "an array of numbers, each a number"),
    ("[server]", "host = 1\n[server]", 3, "host: must be a table"),
    (", rate_per_s = 20", "", 8, "clients: arrivals: 'rate_per_s' is missing"),
    ("duration_s = 60", f"duration_s = 1{'0' * 400}", 1, "must be a number above 0"),
    ("[server]", "# \u2028\u0085\n[serve]", 4, "'serve' is not known"),
    ('kind = "stage_crash"', "", 23, "kind = None is not known; known are slow_device"),
]


def told(text, folder=Path()):
    """What is said of a scenario that cannot be run."""
    with pytest.raises(ScenarioError) as caught:
        parse_scenario(text, "s.toml", folder)
    return str(caught.value)


def test_a_scenario_is_read():
    scenario = parse_scenario(GOOD, "s.toml", Path())
    assert scenario.duration_s == 60.0
    assert scenario.server.max_batch_size == 64
    search, _ = scenario.clients
    assert search.arrivals == Poisson(20.0)
    assert isinstance(search.lengths, Mix)
    assert scenario.faults[0].stage == "batching"


@pytest.mark.parametrize(("good", "bad", "line", "what"), BAD)
def test_what_is_wrong_is_told_with_its_line(good, bad, line, what):
    assert good in GOOD
    message = told(GOOD.replace(good, bad, 1))
    assert message.startswith(f"s.toml, line {line}: ")
    assert what in message


def test_what_is_not_toml_is_told_with_its_line():
    assert "line 3" in told("duration_s = 1\n\n[server\n")
    assert "end of document" in told("duration_s = 1 x")
    assert "thousands of digits" in told(f"duration_s = {'1' * 5000}")
    assert "nested too deeply" in told(f"duration_s = {'[' * 5000}")


def test_a_scenario_without_clients_or_file():
    assert told("duration_s = 1\nclients = []\n").startswith(
        "s.toml, line 2: clients: at least one"
    )
    with pytest.raises(ScenarioError, match="No such file"):
        read_scenario(Path("/nowhere/s.toml"))


COSTS = [f'{{"cost": {{"fixed_s": {value}}}}}' for value in ("1", "NaN", "-1", "1e9", "1" * 400)]


@pytest.mark.parametrize("content", [None, "{", "[]", "[" * 100_000, *COSTS])
def test_a_calibration_that_is_none(content, tmp_path):
    if content is not None:
        (tmp_path / "device.json").write_text(content)
    text = GOOD + '[device]\ncalibration = "device.json"\n'
    message = told(text, tmp_path)
    assert message.startswith("s.toml, line 28: device: calibration: device.json")


def test_a_mark_at_the_beginning_and_other_ends_of_lines_are_no_fault(tmp_path):
    path = tmp_path / "s.toml"
    path.write_bytes(b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode())
    assert read_scenario(path) == parse_scenario(GOOD, "s.toml", tmp_path)


def test_a_calibration_is_read_from_beside_the_scenario(tmp_path):
    cost = {"fixed_s": 0.5, "token_s": 0.25, "square_s": 0.0}
    (tmp_path / "device.json").write_text(json.dumps({"cost": cost}))
    text = GOOD + '[device]\ncalibration = "device.json"\n'
    assert parse_scenario(text, "s.toml", tmp_path).device.calibration.as_dict() == cost


@pytest.mark.parametrize("content", [None, "{", "[]", '[{"ph": "b", "name": "request"}]'])
def test_a_trace_that_is_none(content, tmp_path):
    if content is not None:
        (tmp_path / "trace.json").write_text(content)
    text = GOOD.replace('kind = "poisson", rate_per_s = 20', 'kind = "recorded", file="trace.json"')
    assert told(text, tmp_path).startswith("s.toml, line 8: clients.arrivals: file: trace.json")


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_the_scenarios_that_are_shipped_can_be_run(path):
    scenario = read_scenario(path)
    shorter = 1.0 / scenario.duration_s
    faults = [evolve(f, at_s=f.at_s * shorter, for_s=f.for_s * shorter) for f in scenario.faults]
    scenario = evolve(scenario, duration_s=1.0, faults=tuple(faults))
    assert simulate(scenario, seed=1).violations.total == 0


KEYS = st.text("abc", min_size=1, max_size=2)
VALUES = st.one_of(st.integers(0, 9), st.just("[\n1,\n2]"), st.just('"""a\n\nb"""'))


@given(st.dictionaries(KEYS, st.dictionaries(KEYS, VALUES, max_size=4), max_size=4), st.data())
def test_every_key_is_found_on_the_line_where_its_statement_begins(tables, data):
    lines, places = [], {}
    for table, keys in tables.items():
        lines += ["# [x]", f"[{table}]", ""]
        places[table,] = len(lines) - 1
        for key, value in keys.items():
            places[table, key] = len(lines) + 1
            lines += f"{key} = {value}".split("\n")
    text = "\n".join(lines)
    tomllib.loads(text)
    assert {path: line_of(text, path) for path in places} == places
    if tables:
        table = data.draw(st.sampled_from(sorted(tables)))
        assert line_of(text, (table, "missing")) == places[table,]
