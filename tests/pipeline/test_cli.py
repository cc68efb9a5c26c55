"""The penstock command, run as its users run it."""

import json
import re
import subprocess
import sys
import tomllib

import pytest
from command_line import penstock

from pipeline import cli
from pipeline.security.key_ring import KeyRing
from pipeline.settings.rows import rows
from pipeline.settings.sources import load_settings
from pipeline.settings.table import Settings


@pytest.mark.parametrize(
    "arguments",
    [[], ["fly"], ["embed"], ["embed", "a", "--file", "b"], ["serve", "--grpc-prot", "1"]],
)
def test_wrong_usage_is_exit_code_2(arguments):
    assert penstock(*arguments).returncode == 2


@pytest.mark.parametrize("command", ["serve", "config"])
def test_a_bad_setting_is_exit_code_2_and_one_line(command, tmp_path):
    done = penstock(command, DEVICE="tpu")
    assert done.returncode == 2
    assert done.stderr == (
        "penstock: DEVICE='tpu' (environment variable DEVICE) is not allowed: "
        "must be auto, or one or more of cpu, of null or of cuda:N (cuda is cuda:0), separated by "
        "commas: not of two kinds, and no cuda:N twice\n"
    )
    file = tmp_path / "settings.toml"
    file.write_text("speed = 11")
    assert "'speed' is not a setting" in penstock(command, "--config", str(file)).stderr


def test_serving_on_cores_that_are_not_there_is_exit_code_2():
    done = penstock("serve", DEVICE_CPUS="9999")
    assert done.returncode == 2
    assert done.stderr.startswith(
        "penstock: DEVICE_CPUS=9999 (environment variable DEVICE_CPUS) is not allowed: "
        "must be of the cores "
    )


@pytest.mark.parametrize(
    ("settings", "needle"),
    [
        ({"API_KEYS_FILE": "keys"}, "API_KEYS_FILE {}/keys: No such file"),
        ({"API_KEYS_FILE": "bad"}, "API_KEYS_FILE {}/bad: line 2 is not name:SHA-256"),
        (
            {"TLS_CERT_FILE": "bad", "TLS_KEY_FILE": "bad"},
            "TLS_CERT_FILE {}/bad: no certificate in PEM form",
        ),
        ({"TLS_CERT_FILE": "bad"}, "TLS_CERT_FILE={}/bad (environment variable TLS_CERT_FILE) "),
        (
            {"TRACE_FILE": "none/trace.json"},
            (
                "TRACE_FILE={}/none/trace.json (environment variable TRACE_FILE) cannot be "
                "written: no such folder"
            ),
        ),
    ],
)
def test_files_that_cannot_be_used_are_exit_code_2(tmp_path, settings, needle):
    (tmp_path / "bad").write_text("# keys\nsecret\n")
    files = {name: str(tmp_path / file) for name, file in settings.items()}
    done = penstock("serve", DEVICE="null", **files)
    assert done.returncode == 2
    assert done.stderr.startswith(f"penstock: {needle.format(tmp_path)}")
    assert "secret" not in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("command", [["serve"], ["calibrate", "--output", "device.json"]])
def test_a_model_path_that_leads_nowhere_is_exit_code_2_and_one_line(command, tmp_path):
    done = penstock(*command, MODEL_PATH=f"{tmp_path}/none")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"penstock: MODEL_PATH='{tmp_path}/none' (environment variable MODEL_PATH) is not allowed: "
        "must be a folder, a hub id (org/name) or a URL (s3://bucket/prefix), "
        "and there is no such folder\n"
    )


def test_a_revision_of_what_has_none_is_exit_code_2():
    done = penstock("serve", "--model-revision", "v2")
    assert done.returncode == 2
    assert done.stderr == (
        "penstock: MODEL_REVISION=v2 (flag --model-revision) is for hub ids; "
        "the embedded model has no revisions\n"
    )


def test_a_key_is_shown_once_with_its_line():
    done = penstock("key", "team-a")
    (label, key), (other, line) = (row.split() for row in done.stdout.splitlines())
    assert (done.returncode, label, other) == (0, "key", "line")
    assert KeyRing.parse(line).tenant(f"Bearer {key}") == "team-a"
    bad = penstock("key", "a b")
    assert (bad.returncode, bad.stdout) == (2, "")
    assert "1 to 64 of" in bad.stderr


def test_config_shows_value_and_source(tmp_path):
    file = tmp_path / "settings.toml"
    file.write_text("grpc_port = 7\nhttp_health_port = 8\n")
    done = penstock("config", "--json", "--grpc-port", "9", PENSTOCK_CONFIG=str(file))
    shown = json.loads(done.stdout)
    assert shown["GRPC_PORT"] == {"value": 9, "source": "flag --grpc-port"}
    assert shown["HTTP_HEALTH_PORT"] == {"value": 8, "source": f"file {file}"}
    assert shown["DTYPE"] == {"value": "auto", "source": "default"}
    table = penstock("config", "--grpc-reflection").stdout.splitlines()
    assert len(table) == len(list(rows()))
    assert ["GRPC_REFLECTION", "true", "flag", "--grpc-reflection"] in map(str.split, table)


def test_config_as_toml_is_a_file_with_the_same_effect(tmp_path):
    done = penstock("config", "--toml", "--control-tokens", "[a],[b]", "--max-batch-ms", "7")
    assert tomllib.loads(done.stdout) == {"control_tokens": ["[a]", "[b]"], "max_batch_ms": 7.0}
    file = tmp_path / "all.toml"
    file.write_text(re.sub("(?m)^# ", "", done.stdout))
    settings, _ = load_settings({}, {}, file)
    assert settings == Settings(control_tokens=("[a]", "[b]"), max_batch_ms=7.0)


def test_the_environment_is_prepared_but_not_overruled():
    environ = {"OMP_WAIT_POLICY": "ACTIVE"}
    cli.prepare_environment(environ, cores=2)
    assert environ["OMP_WAIT_POLICY"] == "ACTIVE"
    assert environ["TOKENIZERS_PARALLELISM"] == "false"
    environ = {}
    cli.prepare_environment(environ, cores=16)
    assert environ["OMP_WAIT_POLICY"] == "PASSIVE"
    assert environ["TOKENIZERS_PARALLELISM"] == "true"
    assert environ["MKL_DISABLE_FAST_MM"] == "1"


def test_the_command_line_imports_nothing_heavy():
    code = (
        "import sys, pipeline.cli as c; c.main(['config']);"
        "print(sorted({'torch', 'numpy', 'trio', 'transformers', 'grpclib'} & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.splitlines()[-1] == "[]"


def test_version_is_the_distributions():
    assert re.fullmatch(r"penstock \d+\.\d+\.\d+\n", penstock("--version").stdout)


def test_a_host_that_others_reach_gets_one_warning(tmp_path):
    # a folder without a model: the server starts, warns, and stops by itself
    nowhere, every_host = str(tmp_path), "0.0.0.0"  # noqa: S104
    ports = {"GRPC_PORT": "0", "HTTP_HEALTH_PORT": "0", "METRICS_ENABLED": "false"}
    done = penstock("serve", MODEL_PATH=nowhere, HTTP_HOST=every_host, **ports)
    assert done.returncode == 1
    assert done.stderr.count("others can reach this server") == 1
    assert "TLS and API keys" in done.stderr
    assert f"MODEL_PATH={nowhere} has no config.json" in done.stderr
    quiet = penstock("serve", MODEL_PATH=nowhere, **ports)
    assert "others can reach" not in quiet.stderr
