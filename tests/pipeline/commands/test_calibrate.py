"""What ``penstock calibrate`` measures and writes."""

import json
import random
import subprocess
import sys

import pytest
from core_builders import batch_of, chunk_of, open_ticket

from pipeline.commands.calibrate import Calibration, read_cost
from simulations.server.modelled_device import DeviceCost
from stages.load.cost_model import CostModel, CostSample, Work
from stages.requests.open_tickets import OpenTickets

COST = CostModel(0.002, 1e-4, 1e-7)
WORKS = [Work.of([length] * texts) for texts in (1, 8, 64) for length in (16, 64, 256)]
EXACT = Calibration({"device": "cpu"}, tuple(CostSample(w, COST.seconds(w)) for w in WORKS))


def calibrate(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "pipeline", "calibrate", "--device=null", *arguments],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """The finished command, and the file that it wrote."""
    path = tmp_path_factory.mktemp("calibrate") / "device.json"
    return calibrate("--null-dimension=8", f"--output={path}"), path


def test_it_writes_the_coefficients_and_what_they_come_from(done):
    command, path = done
    assert command.returncode == 0, command.stderr
    document = json.loads(path.read_text())
    assert document["device"] == "null"
    assert {"model", "fingerprint", "dtype", "batching", "threads"} <= set(document)
    assert {"python", "torch", "transformers", "penstock"} <= set(document["versions"])
    errors = [abs(s["predicted_s"] / s["measured_s"] - 1) for s in document["samples"]]
    assert document["largest_relative_error"] == pytest.approx(max(errors))
    assert read_cost(path).as_dict() == document["cost"]


def test_it_prints_a_table_with_a_line_for_each_sample(done):
    command, path = done
    samples = json.loads(path.read_text())["samples"]
    lines = command.stdout.splitlines()
    assert len(lines) == len(samples) + 2
    for line, sample in zip(lines[1:], samples, strict=False):
        assert line.split()[:2] == [str(sample["tokens"]), str(sample["squares"])]


def test_a_folder_that_is_not_there_is_found_before_anything_is_measured(tmp_path):
    command = calibrate(f"--output={tmp_path}/none/device.json")
    assert command.returncode == 2
    assert command.stderr.startswith("penstock: --output")
    assert "no such folder" in command.stderr


def test_the_table_says_what_was_measured_and_what_is_predicted():
    *_, last = EXACT.as_table().splitlines()
    assert last == (
        "per batch 2.000 ms, per token 100.000 us, per unit of length^2 100.000 ns; "
        "largest error 0%"
    )


def test_the_simulators_device_takes_the_measured_time(tmp_path):
    path = tmp_path / "device.json"
    path.write_text(EXACT.as_json())
    device = DeviceCost(read_cost(path), jitter=0.0)
    batch = batch_of(chunk_of(open_ticket(OpenTickets(), 2), [10, 3]))
    rng = random.Random(0)  # noqa: S311
    assert device.seconds(batch, rng, now=0.0) == pytest.approx(COST.seconds(Work.of([10, 3])))


@pytest.mark.parametrize("text", ["[]", "{}", '{"cost": 1}', '{"cost": {"fixed_s": 1}}', "no"])
def test_a_file_of_something_else_is_refused(tmp_path, text):
    path = tmp_path / "device.json"
    path.write_text(text)
    with pytest.raises(ValueError):
        read_cost(path)
