"""TEI's gRPC clients, and the models that they ask."""

import json
import os
import shutil
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
import transformers
from grpc_tools import protoc
from server_processes import NO_REFUSALS, ROOT, serving
from small_checkpoints import write_checkpoint

CLIENT = Path(__file__).with_name("tei_client.py")


@pytest.fixture(scope="module")
def stubs(tmp_path_factory):
    """Generated as TEI's clients have them made, from the .proto file alone."""
    folder = tmp_path_factory.mktemp("stubs")
    shutil.copy(ROOT / "proto/penstock/compat/tei.proto", folder)
    where = [f"--{kind}={folder}" for kind in ("proto_path", "python_out", "grpc_python_out")]
    assert protoc.main(["protoc", *where, "tei.proto"]) == 0
    return folder


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """Folders of small random models with the embedded model's tokenizer."""
    folders = {}
    for name, loader, labels in (
        ("ranker", transformers.AutoModelForSequenceClassification, 1),
        ("classifier", transformers.AutoModelForSequenceClassification, 3),
        ("splade", transformers.AutoModelForMaskedLM, 2),
    ):
        folder = folders[name] = tmp_path_factory.mktemp(name)
        write_checkpoint(folder, loader, num_labels=labels)
    return folders


@pytest.fixture(scope="module")
def ask(stubs, tiny, server, tmp_path_factory):
    """Asks the server of a model, which is started when it is first asked."""
    log = tmp_path_factory.mktemp("logs")
    with ExitStack() as stack:
        servers = {"embedded": server}

        def ask(model, *calls):
            if model not in servers:
                settings = NO_REFUSALS | {"MODEL_PATH": str(tiny[model])}
                servers[model] = stack.enter_context(serving(log / model, **settings))
            done = subprocess.run(
                [sys.executable, str(CLIENT), servers[model].grpc],
                input=json.dumps(calls), capture_output=True, text=True, timeout=110, check=False,
                env={**os.environ, "PYTHONPATH": str(stubs)},
            )  # fmt: skip
            assert done.returncode == 0, done.stderr
            return json.loads(done.stdout)

        yield ask
