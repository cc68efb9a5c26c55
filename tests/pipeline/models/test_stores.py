"""Models from S3 (moto's server, over HTTP) and from an fsspec driver (memory://)."""

import shutil
import sys
from contextlib import suppress

import boto3
import fsspec
import pytest
from moto.server import ThreadedMotoServer

from pipeline.models import NoModel, Unreachable, cache, resolve_model
from pipeline.models.cache import RemoteFile, fetch_whole


@pytest.fixture(scope="module")
def moto_url():
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(moto_url, monkeypatch, model_files):
    for name, value in {
        "AWS_ENDPOINT_URL": moto_url,
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_MAX_ATTEMPTS": "1",
    }.items():
        monkeypatch.setenv(name, value)
    client = boto3.client("s3")
    client.create_bucket(Bucket="models")
    for name, data in model_files.items():
        client.put_object(Bucket="models", Key=f"team/tiny/{name}", Body=data)
    client.put_object(Bucket="models", Key="team/tiny-other/config.json", Body=b"{}")
    yield client
    for item in client.list_objects_v2(Bucket="models").get("Contents", ()):
        client.delete_object(Bucket="models", Key=item["Key"])
    client.delete_bucket(Bucket="models")


@pytest.fixture
def memory(model_files):
    filesystem = fsspec.filesystem("memory")
    for name, data in model_files.items():
        filesystem.pipe_file(f"/bucket/tiny/{name}", data)
    yield filesystem
    filesystem.store.clear()


def resolve(url, cache_dir, **options):
    return resolve_model(url, "", cache_dir, progress=False, **options)


@pytest.mark.parametrize("url", ["s3://models/team/tiny", "s3://models/team/tiny/"])
def test_an_s3_model_comes_whole(bucket, tmp_path, model_files, served_files, files_in, url):
    found = resolve(url, tmp_path)
    assert found.model_id == url
    assert files_in(found.folder) == served_files
    for name in served_files:
        assert (found.folder / name).read_bytes() == model_files[name]


def test_an_unchanged_s3_model_is_reused_and_a_changed_one_is_not(bucket, tmp_path):
    first = resolve("s3://models/team/tiny", tmp_path)
    before = (first.folder / "config.json").stat().st_ino
    again = resolve("s3://models/team/tiny", tmp_path)
    assert again == first
    assert (again.folder / "config.json").stat().st_ino == before
    bucket.put_object(Bucket="models", Key="team/tiny/config.json", Body=b'{"model_type": "xlm_"}')
    changed = resolve("s3://models/team/tiny", tmp_path)
    assert changed.revision != first.revision
    assert (changed.folder / "config.json").read_bytes() == b'{"model_type": "xlm_"}'


def test_an_s3_that_does_not_answer_is_replaced_by_the_cached_copy(bucket, tmp_path, monkeypatch):
    first = resolve("s3://models/team/tiny", tmp_path)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    assert resolve("s3://models/team/tiny", tmp_path) == first
    with pytest.raises(Unreachable, match="no complete copy"):
        resolve("s3://models/team/tiny-other", tmp_path)


@pytest.mark.parametrize(
    ("url", "needle"),
    [
        ("s3://no-such-bucket/tiny", "does not exist"),
        ("s3://models/nothing", "holds nothing"),
        ("s3://models/team/tiny-other", "no weights"),
    ],
)
def test_what_is_wrong_with_an_s3_model_is_said(bucket, tmp_path, url, needle):
    with pytest.raises(NoModel, match=needle) as caught:
        resolve(url, tmp_path)
    assert url in str(caught.value)


def test_missing_credentials_are_said(bucket, tmp_path, monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(NoModel, match="no AWS credentials"):
        resolve("s3://models/team/tiny", tmp_path)


def test_an_fsspec_model_comes_whole(memory, tmp_path, model_files, served_files, files_in):
    found = resolve("memory://bucket/tiny", tmp_path)
    assert files_in(found.folder) == served_files
    for name in served_files:
        assert (found.folder / name).read_bytes() == model_files[name]
    assert resolve("memory://bucket/tiny", tmp_path) == found


def test_code_comes_from_a_store_only_when_trusted(memory, tmp_path):
    found = resolve("memory://bucket/tiny", tmp_path, trust_remote_code=True)
    assert (found.folder / "modeling_custom.py").exists()


def test_an_fsspec_folder_that_is_not_there_is_named(memory, tmp_path):
    with pytest.raises(NoModel, match="memory://bucket/none"):
        resolve("memory://bucket/none", tmp_path)


def test_a_password_in_a_url_is_not_shown():
    with pytest.raises(NoModel) as caught:
        resolve_model("nope://user:secret@host/model?token=secret")
    assert "secret" not in str(caught.value)


class Talkative(fsspec.AbstractFileSystem):
    """A file system whose errors say where they were."""

    protocol = "talkative"

    def find(self, path, **_):
        raise OSError(f"cannot read 'talkative://{path}': torn")


def test_a_password_in_a_drivers_error_is_not_shown():
    fsspec.register_implementation("talkative", Talkative, clobber=True)
    with pytest.raises(NoModel) as caught:
        resolve_model("talkative://user:se@cret@host/model?token=secret")
    message = "talkative://host/model: OSError: cannot read 'talkative://host/model torn"
    assert str(caught.value) == message


class Store:
    """A store in memory with faults."""

    source = "test://store"

    def __init__(self, files, *, cut=None, meanwhile=None):
        self.data = files
        self.cut = cut
        self.meanwhile = meanwhile
        self.fetched = []

    def files(self):
        return [RemoteFile(name, len(data), "") for name, data in self.data.items()]

    def fetch(self, name, target, advance):
        self.fetched.append(name)
        data = self.data[name]
        target.write_bytes(data[: len(data) // 2] if name == self.cut else data)
        if self.meanwhile is not None:
            step, self.meanwhile = self.meanwhile, None
            step()


def fetch(store, cache_dir):
    return fetch_whole(store, cache_dir, trust_remote_code=False, progress=False)


def test_a_file_that_comes_short_leaves_nothing_behind(tmp_path, model_files):
    with pytest.raises(NoModel, match=r"model\.safetensors came with 5120 of 10240 bytes"):
        fetch(Store(model_files, cut="model.safetensors"), tmp_path)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_killed_download_is_not_taken_for_whole(tmp_path, model_files, monkeypatch):
    monkeypatch.setattr(shutil, "rmtree", lambda *_, **__: None)  # a kill tidies nothing

    def kill():
        raise KeyboardInterrupt

    with suppress(KeyboardInterrupt):
        fetch(Store(model_files, meanwhile=kill), tmp_path)
    assert any(path.is_file() for path in tmp_path.rglob("*"))
    store = Store(model_files)
    folder, _ = fetch(store, tmp_path)
    assert "model.safetensors" in store.fetched
    assert (folder / "model.safetensors").read_bytes() == model_files["model.safetensors"]


def test_a_copy_that_was_damaged_later_is_fetched_anew(tmp_path, model_files):
    folder, _ = fetch(Store(model_files), tmp_path)
    (folder / "model.safetensors").write_bytes(b"short")
    again, _ = fetch(Store(model_files), tmp_path)
    assert again == folder
    assert (again / "model.safetensors").read_bytes() == model_files["model.safetensors"]


def test_two_downloads_at_once_end_in_one_whole_copy(tmp_path, model_files, files_in):
    found = []
    other = Store(model_files)
    folder, _ = fetch(
        Store(model_files, meanwhile=lambda: found.append(fetch(other, tmp_path)[0])), tmp_path
    )
    assert found == [folder]
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_what_a_killed_download_left_is_cleared_after_a_day(tmp_path, model_files, monkeypatch):
    folder, _ = fetch(Store(model_files), tmp_path)
    leftover = folder.parent / ".partial-killed"
    leftover.mkdir()
    fresh = dict(model_files, **{"vocab.txt": b"new"})
    fetch(Store(fresh), tmp_path)
    assert leftover.exists()
    monkeypatch.setattr(cache, "LEFTOVER_S", -1.0)
    fetch(Store(dict(fresh, **{"vocab.txt": b"newer"})), tmp_path)
    assert not leftover.exists()


def test_a_cache_that_cannot_be_written_is_named(tmp_path, model_files):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    with pytest.raises(NoModel, match="could not be downloaded into"):
        fetch(Store(model_files), blocked)


def test_a_download_shows_its_progress_on_a_terminal(model_files, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    fetch_whole(Store(model_files), tmp_path, trust_remote_code=False, progress=True)
    assert "Downloading test://store" in capsys.readouterr().err
