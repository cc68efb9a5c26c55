"""``penstock simulate``: a table, a page, a trace, and clear words where it cannot run."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys

import pytest

SCENARIO = """\
duration_s = 3
[[clients]]
name = "a & b"
arrivals = { kind = "poisson", rate_per_s = 20 }
"""


def penstock(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "pipeline", "simulate", *map(str, arguments)],
        capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("simulate")
    (folder / "s.toml").write_text(SCENARIO.replace("a & b", "a-b"))
    return folder


@pytest.fixture(scope="module")
def done(files):
    page, trace = files / "page.html", files / "trace.json"
    return penstock(files / "s.toml", "--seed=7", f"--report={page}", f"--trace={trace}")


def test_it_prints_a_table_and_the_command_that_replays_it(done, files):
    assert done.returncode == 0, done.stderr
    assert re.search(r"^a-b +\d+ +100.00%", done.stdout, re.MULTILINE)
    assert "every check held" in done.stdout
    *_, replay = done.stdout.splitlines()
    again = penstock(*shlex.split(replay.partition(" simulate ")[2]))
    assert again.stdout == done.stdout


def test_the_page_needs_nothing_else(done, files):
    page = (files / "page.html").read_text()
    assert page.count("<svg") == page.count("</svg>") == 7
    assert not re.findall(r"(?:src|href)=|<script|@import|url\(", page)
    assert f"penstock simulate {files / 's.toml'} --seed 7" in page


def test_the_trace_is_one_json_array(done, files):
    events = json.loads((files / "trace.json").read_text())
    assert {event["ph"] for event in events} == {"M", "X", "b", "e"}


def test_what_does_not_hold_is_told_and_the_exit_code_is_1(files):
    crash = '[server]\nrestarts_max = 0\n[[faults]]\nkind = "stage_crash"\nshare = 0.2\n'
    (files / "bad.toml").write_text((files / "s.toml").read_text() + crash)
    found = penstock(files / "bad.toml")
    assert found.returncode == 1
    assert "server 0 has ended" in found.stdout


@pytest.mark.parametrize(
    ("text", "line"),
    [(SCENARIO, 3), ("duration_s = 1\nclients = 1\n", 2), ("x", 1), ("duration_s = true", 1)],
)
def test_a_bad_scenario_exits_2_and_names_the_line(text, line, tmp_path):
    (tmp_path / "s.toml").write_text(text)
    found = penstock(tmp_path / "s.toml")
    assert found.returncode == 2
    assert found.stderr.startswith(f"penstock: {tmp_path / 's.toml'}")
    assert f"line {line}" in found.stderr
    assert len(found.stderr.splitlines()) == 1


def test_files_that_cannot_be_read_or_written(files, tmp_path):
    assert penstock(tmp_path / "none.toml").returncode == 2
    for option in ("report", "trace"):
        found = penstock(files / "s.toml", f"--{option}={tmp_path}/none/file")
        assert (found.returncode, found.stdout) == (2, "")
        assert found.stderr == f"penstock: {tmp_path}/none/file: no such folder\n"
    found = penstock(files / "s.toml", f"--report={tmp_path}")
    assert (found.returncode, found.stderr) == (2, f"penstock: {tmp_path}: is a folder\n")
    found = penstock(files / "s.toml", f"--report={tmp_path}/x", f"--trace={tmp_path}/x")
    assert (found.returncode, found.stdout) == (2, "")
    assert "different files" in found.stderr


def test_a_reader_that_goes_away_is_no_crash(files):
    command = [sys.executable, "-m", "pipeline", "simulate", str(files / "s.toml")]
    reader, writer = os.pipe()
    os.close(reader)
    for unbuffered in ("", "1"):
        done = subprocess.run(
            command, env={**os.environ, "PYTHONUNBUFFERED": unbuffered}, check=False,
            stdout=writer, stderr=subprocess.PIPE, text=True, timeout=100,
        )  # fmt: skip
        assert done.returncode == 1
        assert re.fullmatch(r"\d+ items in .*\n", done.stderr)
    os.close(writer)


def test_ctrl_c_ends_a_simulation_without_a_word(tmp_path):
    (tmp_path / "long.toml").write_text(SCENARIO.replace("a & b", "a").replace("= 3", "= 3000"))
    os.mkfifo(tmp_path / "trace")
    command = [sys.executable, "-m", "pipeline", "simulate", str(tmp_path / "long.toml")]
    with subprocess.Popen(
        [*command, f"--trace={tmp_path / 'trace'}"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        with (tmp_path / "trace").open("rb") as trace:
            assert trace.read(1)  # it runs
            process.send_signal(signal.SIGINT)
            while trace.read(1 << 16):
                pass
        assert process.communicate(timeout=60) == ("", "")
    assert process.returncode == 130
