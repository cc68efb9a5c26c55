"""The commands that ask a running server, run as their users run them."""

import json
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from command_line import penstock


@pytest.fixture(scope="module")
def server():
    """Addresses of a server with a null device, and its ready line."""
    flags = ["--device=null", "--null-dimension=12", "--grpc-port=0", "--http-health-port=0"]
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline", "serve", "--metrics-enabled=false", *flags],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    line = process.stdout.readline()
    yield line
    process.send_signal(signal.SIGTERM)
    rest = process.stdout.read()
    process.stdout.close()
    assert (process.wait(30), rest) == (0, "")


@pytest.fixture(scope="module")
def target(server):
    return re.search(r"gRPC (\S+:\d+),", server)[1]


def test_the_ready_line_holds_a_command_that_embeds(server):
    command = shlex.split(server.rsplit(" - try: ", 1)[1])
    out = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert len(json.loads(out.stdout)) == 12


def test_embed_prints_an_array_a_text(target):
    done = penstock("embed", "--target", target, "one", "two")
    assert (done.returncode, done.stderr) == (0, "")
    assert [len(json.loads(line)) for line in done.stdout.splitlines()] == [12, 12]


def test_embed_prints_many_lines_in_their_order(target, tmp_path):
    lines, output = tmp_path / "lines.txt", tmp_path / "vectors.npy"
    lines.write_text("".join(f"{'w ' * (number % 97)}{number}\n" for number in range(3000)))
    printed = penstock("embed", "--target", target, "--file", str(lines)).stdout
    penstock("embed", "--target", target, "--file", str(lines), "--output", str(output))
    rows = np.array([json.loads(line) for line in printed.splitlines()], np.float32)
    assert np.array_equal(rows, np.load(output))


def test_embed_and_info_say_so_when_stdout_is_full(target):
    for arguments in (["embed", "--target", target, "text"], ["info", "--target", target]):
        with Path("/dev/full").open("w") as full:
            done = penstock(*arguments, stdout=full)
        said = "penstock: stdout: No space left on device\n"
        assert (done.returncode, done.stderr) == (1, said)


def test_embed_finds_the_server_by_its_settings(target):
    assert penstock("embed", "text", GRPC_PORT=target.rpartition(":")[2]).returncode == 0


def test_embed_writes_a_row_a_line(target, tmp_path):
    lines = tmp_path / "lines.txt"
    lines.write_bytes("erste Zeile\r\n\nünfte".encode())
    output = tmp_path / "vectors.npy"
    done = penstock("embed", "--target", target, "--file", str(lines), "--output", str(output))
    assert (done.returncode, done.stdout) == (0, "")
    vectors = np.load(output)
    assert (vectors.shape, vectors.dtype) == ((3, 12), np.float32)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lines.txt", "vectors.npy"]


def test_info_says_what_is_served(target):
    facts = json.loads(penstock("info", "--json", "--target", target).stdout)
    assert facts["dimension"] == 12
    assert "max_tokens" in penstock("info", "--target", target).stdout


@pytest.mark.parametrize(
    ("arguments", "needle"),
    [
        (["--file", "/nowhere/lines"], "--file /nowhere/lines: No such file"),
        (["--output", "/nowhere/v.npy", "a"], "--output /nowhere/v.npy: No such file"),
        (["--prompt-name", "none-such", "a"], "prompt"),
        (["--target", "127.0.0.1:1", "a"], "cannot reach a server at 127.0.0.1:1"),
    ],
)
def test_what_fails_is_one_line_and_exit_code_1(target, arguments, needle):
    done = penstock("embed", "--target", target, *arguments)
    assert done.returncode == 1
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("penstock: ")
    assert needle in done.stderr


@pytest.mark.parametrize(
    ("arguments", "needle"),
    [
        (["--output", "vectors.txt"], "--output vectors.txt: must end in .npy"),
        (["--resume"], "--resume: needs --file with a name, and --output"),
        (["--key-file", "key.pem"], "--key-file: needs --cert-file"),
        (["--target", "here:there"], "here:there: not an address; give host:port"),
    ],
)
def test_what_does_not_go_together_is_one_line_and_exit_code_2(arguments, needle):
    done = penstock("embed", *arguments, "a")
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"penstock: {needle}\n")


def test_a_line_that_is_not_utf_8_is_numbered(target, tmp_path):
    lines = tmp_path / "lines.txt"
    lines.write_bytes(b"fine\n\xff\n")
    done = penstock("embed", "--target", target, "--file", str(lines))
    assert (done.returncode, "line 2 is not UTF-8" in done.stderr) == (1, True)
    lines.write_bytes(b"")
    assert "holds no lines" in penstock("embed", "--file", str(lines)).stderr


def test_a_failed_embed_leaves_no_file(tmp_path):
    output = tmp_path / "vectors.npy"
    penstock("embed", "--target", "127.0.0.1:1", "--output", str(output), "a")
    assert list(tmp_path.iterdir()) == []
