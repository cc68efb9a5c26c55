"""A model's files as bytes, and a place for the cache."""

import pytest


@pytest.fixture
def model_files() -> dict[str, bytes]:
    return {
        "config.json": b'{"model_type": "bert"}',
        "model.safetensors": bytes(range(256)) * 40,
        "pytorch_model.bin": b"older weights",
        "modules.json": b"[]",
        "1_Pooling/config.json": b"{}",
        "tokenizer.json": b'{"version": "1.0"}',
        "modeling_custom.py": b"raise SystemExit",
        "onnx/model.onnx": b"another format",
        "README.md": b"words",
    }


@pytest.fixture
def served_files(model_files) -> set[str]:
    return set(model_files) - {
        "pytorch_model.bin", "modeling_custom.py", "onnx/model.onnx", "README.md",
    }  # fmt: skip


@pytest.fixture
def files_in():
    def names(folder):
        return {
            path.relative_to(folder).as_posix()
            for path in folder.rglob("*")
            if path.is_file() and path.name != ".penstock.json"
        }

    return names
