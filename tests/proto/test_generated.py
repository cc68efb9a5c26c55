import re
import runpy
import tomllib
from pathlib import Path

import penstock.compat.gpu_inference_pb2
import penstock.compat.tei_pb2
import penstock.v1.embedding_pb2
from google.protobuf import descriptor_pool

ROOT = Path(__file__).parents[2]
PROTO = ROOT / "proto"


def test_generated_modules_are_those_of_the_proto_files(tmp_path):
    runpy.run_path(str(PROTO / "generate.py"))["generate"](tmp_path)
    fresh = {path.relative_to(tmp_path): path.read_text() for path in tmp_path.rglob("*.py*")}
    kept = {path: (PROTO / path).read_text() for path in fresh}
    assert len(fresh) == 3 * len(list(PROTO.rglob("*.proto")))
    assert kept == fresh


def test_every_protobuf_that_may_be_installed_takes_the_generated_modules():
    required = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    (lowest,) = (line.split(">=")[1] for line in required if line.startswith("protobuf>="))
    made_for = {
        re.search(r"^# Protobuf Python Version: (.+)$", path.read_text(), re.MULTILINE)[1]
        for path in PROTO.rglob("*_pb2.py")
    }
    assert made_for == {lowest}


def numbers(message):
    return {field.name: field.number for field in message.DESCRIPTOR.fields}


def test_field_numbers_are_those_that_clients_rely_on():
    v1, gi = penstock.v1.embedding_pb2, penstock.compat.gpu_inference_pb2
    assert list(numbers(v1.EmbedRequest).items()) == [
        ("request_id", 1),
        ("texts", 2),
        ("token_ids", 3),
        ("lengths", 4),
        ("normalize", 5),
        ("dimensions", 6),
        ("truncate", 7),
        ("truncation_direction", 8),
        ("prompt_name", 9),
        ("encoding", 10),
        ("priority", 11),
    ]
    assert list(numbers(gi.InferRequest)) == [
        "request_id",
        "input_ids",
        "attention_mask",
        "bucket_max_len",
        "max_wait_ms",
        "input_ids_bytes",
        "attention_mask_bytes",
        "num_items",
        "seq_len",
    ]
    assert list(numbers(gi.InferRequest).values()) == list(range(1, 10))
    assert list(numbers(gi.InferResponse).values()) == list(range(1, 9))
    assert list(numbers(gi.HealthResponse).values()) == list(range(1, 9))
    assert list(numbers(v1.EmbedResponse).values()) == list(range(1, 12))


def test_services_keep_their_names_on_the_wire():
    pool = descriptor_pool.Default()
    tei = [f"tei.v1.{name}" for name in ("Info", "Embed", "Predict", "Rerank", "Tokenize")]
    for name in ("penstock.v1.EmbeddingService", "gpu_inference.InferenceService", *tei):
        assert pool.FindServiceByName(name).full_name == name


def test_tei_s_numbers_are_theirs():
    """Name and number of each field, as TEI's clients have them."""
    tei = penstock.compat.tei_pb2
    named = {
        name: list(numbers(getattr(tei, name)).items())
        for name in tei.DESCRIPTOR.message_types_by_name
    }
    assert {name: [number for _, number in fields] for name, fields in named.items()} == {
        name: list(range(1, len(fields) + 1)) for name, fields in named.items()
    }
    assert [name for name, _ in named["EmbedRequest"]] == [
        *("inputs", "truncate", "normalize", "truncation_direction", "prompt_name", "dimensions")
    ]
    assert [name for name, _ in named["RerankRequest"]] == [
        *("query", "texts", "truncate", "raw_scores", "return_text", "truncation_direction")
    ]
    assert [name for name, _ in named["InfoResponse"]] == [
        *("version", "sha", "docker_label", "model_id", "model_sha", "model_dtype", "model_type"),
        *("max_concurrent_requests", "max_input_length", "max_batch_tokens"),
        *("max_batch_requests", "max_client_batch_size", "tokenization_workers"),
    ]
    assert [name for name, _ in named["SimpleToken"]] == ["id", "text", "special", "start", "stop"]
