"""Every target of the fuzzer holds, for a few seconds; ``make fuzz`` goes on for longer."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from targets import TARGETS, edge

HERE = Path(__file__).parent
RUNS = 3000


@pytest.fixture(scope="module", autouse=True)
def _closed_at_the_end():
    yield
    edge().close()


@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=400, derandomize=True)
@given(data=st.binary(max_size=300))
def test_a_target_holds_for_any_bytes(name, data):
    TARGETS[name](data)


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_holds_where_coverage_leads(name, tmp_path):
    pytest.importorskip("atheris")
    command = [sys.executable, HERE / "fuzz.py", name, "-seed=1", "-max_len=300", f"-runs={RUNS}"]
    paths = [str(HERE.parents[1]), str(HERE.parents[1] / "proto"), os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(
        [*command, f"-artifact_prefix={tmp_path}/"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr[-4000:]
    assert f"Done {RUNS} runs" in done.stderr
