"""The commands, as somebody at a shell uses them, against the embedded model."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from embedded_texts import mixed_texts
from server_processes import ROOT, client_of, environment, penstock, serving, vectors_in

SCRIPT = str(Path(sys.executable).with_name("penstock"))
EVERY_WAY = ([SCRIPT], [sys.executable, "-m", "pipeline"])


@pytest.fixture(scope="module")
def vectors(server):
    """What the server itself says of some texts."""
    texts = ["some text", *mixed_texts(6, seed=2), ""]
    with client_of(server) as client:
        return texts, vectors_in(client.embed(texts=texts))


def run(command, **options):
    return subprocess.run(
        command, env=environment({}), capture_output=True, text=True, timeout=60, check=False,
        **options,
    )  # fmt: skip


def test_the_pasted_command_embeds_from_any_folder(server, vectors, tmp_path):
    command = server.ready_lines[0].rsplit(" - try: ", 1)[1]
    done = run(["sh", "-c", command], cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    np.testing.assert_allclose(json.loads(done.stdout), vectors[1][0], atol=2e-6)


@pytest.mark.parametrize("way", EVERY_WAY, ids=["script", "module"])
def test_embed_prints_every_vector_in_order(server, vectors, way):
    done = run([*way, "embed", "--target", server.grpc, *vectors[0]], cwd=ROOT)
    assert (done.returncode, done.stderr) == (0, "")
    found = [json.loads(line) for line in done.stdout.splitlines()]
    np.testing.assert_allclose(found, vectors[1], atol=2e-6)


def test_embed_writes_a_row_for_every_line(server, vectors, tmp_path):
    lines, output = tmp_path / "lines.txt", tmp_path / "vectors.npy"
    lines.write_text("\n".join(vectors[0]) + "\n", encoding="utf-8")
    arguments = ["--target", server.grpc, "--file", str(lines), "--output", str(output)]
    done = penstock("embed", *arguments)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    found = np.load(output)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, vectors[1], atol=2e-6)


def test_embed_reads_a_pipe(server, vectors):
    command = [*EVERY_WAY[0], "embed", "--target", server.grpc, "--file", "-"]
    done = run(command, input="some text\n")
    np.testing.assert_allclose(json.loads(done.stdout), vectors[1][0], atol=2e-6)


def test_info_names_the_model(server):
    facts = json.loads(penstock("info", "--json", "--target", server.grpc).stdout)
    assert facts["model_id"] == "sentence-transformers/all-MiniLM-L6-v2"
    assert (facts["dimension"], facts["max_tokens"], facts["pooling"]) == (384, 256, "mean")
    assert len(facts["fingerprint"]) == 16
    plain = penstock("info", "--target", server.grpc).stdout
    assert facts["fingerprint"] in plain


@pytest.mark.parametrize("way", EVERY_WAY, ids=["script", "module"])
def test_config_shows_what_is_in_force(way):
    done = run([*way, "config", "--max-batch-size", "7"], cwd=ROOT)
    assert ["MAX_BATCH_SIZE", "7", "flag", "--max-batch-size"] in [
        line.split() for line in done.stdout.splitlines()
    ]


def test_interrupting_the_client_is_quiet(server, tmp_path):
    lines, output = tmp_path / "lines.txt", tmp_path / "vectors.npy"
    lines.write_text("\n".join(mixed_texts(3000, seed=4)), encoding="utf-8")
    arguments = ["--target", server.grpc, "--file", str(lines), "--output", str(output)]
    client = subprocess.Popen(
        [SCRIPT, "embed", *arguments], env=environment({}),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    server.wait_until(
        lambda status, body: "penstock_open_requests 0.0" not in body, path="/metrics"
    )
    client.send_signal(signal.SIGINT)
    out, err = client.communicate(timeout=60)
    assert client.returncode == 130, err
    assert out == ""
    assert "Traceback" not in err
    assert [path.name for path in tmp_path.iterdir()] == ["lines.txt"]
    # and the server forgets its calls
    server.wait_until(lambda status, body: "penstock_open_requests 0.0" in body, path="/metrics")


def test_a_reader_that_goes_away_is_no_crash(server):
    command = f"'{SCRIPT}' embed --target {server.grpc} a b c | head -c 5; exit 0"
    done = run(["bash", "-c", command])
    assert (done.stdout, done.stderr) == ("[" + done.stdout[1:], "")
    assert len(done.stdout) == 5


def test_ctrl_c_ends_the_server_cleanly(tmp_path):
    with serving(tmp_path / "log", SCRIPT, "serve", DEVICE="null") as server:
        os.kill(server.process.pid, signal.SIGINT)
        assert server.exit_code() == 0
        assert server.process.stdout.read() == ""
        assert "Traceback" not in server.log.read_text()
