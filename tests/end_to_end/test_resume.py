"""A file of many texts whose run is killed goes on, and ends as if it had not been."""

import signal
import subprocess
import sys

import numpy as np
import pytest
from server_processes import ROOT, environment, penstock, serving

LINES = 60_000


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("resume")
    with serving(folder / "log", DEVICE="null", NULL_DIMENSION="16") as server:
        yield server


@pytest.fixture(scope="module")
def lines(tmp_path_factory):
    path = tmp_path_factory.mktemp("lines") / "lines.txt"
    path.write_text("".join(f"line {number}\n" for number in range(LINES)))
    return path


def arguments(server, lines, output):
    return ["embed", "--target", server.grpc, "--file", str(lines), "--output", str(output)]


def start(server, lines, output):
    command = [sys.executable, "-m", "pipeline", *arguments(server, lines, output), "--resume"]
    return subprocess.Popen(
        command, cwd=ROOT, env=environment({}), stderr=subprocess.PIPE, text=True
    )


def noted(output):
    """How many ranges of rows are noted as safe."""
    progress = output.with_name(output.name + ".progress")
    return max(0, progress.read_bytes().count(b"\n") - 1) if progress.exists() else 0


def test_killed_runs_end_in_the_same_matrix_as_one(server, lines, tmp_path):
    whole, pieces = tmp_path / "whole.npy", tmp_path / "pieces.npy"
    assert penstock(*arguments(server, lines, whole)).returncode == 0
    for kills in (1, 2):
        run = start(server, lines, pieces)
        while noted(pieces) < kills:
            assert run.poll() is None, run.stderr.read()
        run.send_signal(signal.SIGKILL)
        run.communicate()
        assert not pieces.exists()
    before = server_texts(server)
    done = penstock(*arguments(server, lines, pieces), "--resume")
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert server_texts(server) - before < LINES  # what was safe was not asked for again
    np.testing.assert_array_equal(np.load(pieces), np.load(whole))
    names = ["pieces.npy", "pieces.npy.progress", "whole.npy"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names


def test_a_finished_file_is_left_alone_until_its_lines_change(server, tmp_path):
    lines, output = tmp_path / "lines.txt", tmp_path / "vectors.npy"
    lines.write_text("one\ntwo\nthree\n")
    assert penstock(*arguments(server, lines, output), "--resume").returncode == 0
    before = server_texts(server)
    again = penstock(*arguments(server, lines, output), "--resume")
    assert (again.returncode, again.stderr) == (0, f"{output} is finished: nothing to do\n")
    assert server_texts(server) == before
    lines.write_text("four\nfive\n")
    assert penstock(*arguments(server, lines, output), "--resume").returncode == 0
    assert server_texts(server) == before + 2
    assert np.load(output).shape == (2, 16)


def server_texts(server):
    _, text = server.get("/metrics")
    (line,) = [line for line in text.splitlines() if line.startswith("penstock_items_total{")]
    return float(line.rsplit(" ", 1)[1])


def test_a_changed_file_is_not_gone_on_with(server, tmp_path):
    lines, output = tmp_path / "lines.txt", tmp_path / "vectors.npy"
    lines.write_text("".join(f"line {number}\n" for number in range(40_000)))
    run = start(server, lines, output)
    while not noted(output):
        assert run.poll() is None, run.stderr.read()
    run.send_signal(signal.SIGKILL)
    run.communicate()
    lines.write_text("something else\n")
    done = penstock(*arguments(server, lines, output), "--resume")
    assert done.returncode == 1
    assert "is part of something else" in done.stderr
    done = penstock(*arguments(server, lines, output))
    assert "continue with --resume, or remove it" in done.stderr


def test_resume_needs_files(tmp_path):
    for given in (["a"], ["--file", "-", "--output", str(tmp_path / "v.npy")]):
        done = penstock("embed", "--target", "127.0.0.1:1", *given, "--resume")
        assert done.returncode == 2
        assert "--resume: needs --file with a name, and --output" in done.stderr
