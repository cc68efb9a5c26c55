"""Models from the hub, played by a server on loopback."""

import multiprocessing
import os
import signal

import pytest
from fake_hub import COMMIT, FakeHub

from pipeline.models import NoModel, Unreachable, resolve_model


@pytest.fixture
def hub(model_files, monkeypatch):
    fake = FakeHub(model_files)
    with fake.serve():
        monkeypatch.setenv("HF_ENDPOINT", fake.url)
        monkeypatch.setenv("HF_HUB_DISABLE_TELEMETRY", "1")
        yield fake


def resolve(cache, revision="", **options):
    return resolve_model("org/tiny", revision, cache, progress=False, **options)


def test_a_hub_model_comes_whole_and_without_what_is_not_needed(
    hub, tmp_path, model_files, served_files, files_in
):
    found = resolve(tmp_path)
    assert (found.model_id, found.revision) == ("org/tiny", COMMIT)
    assert files_in(found.folder) == served_files
    for name in served_files:
        assert (found.folder / name).read_bytes() == model_files[name]


def test_code_comes_only_when_trusted(hub, tmp_path):
    assert not (resolve(tmp_path).folder / "modeling_custom.py").exists()
    assert (resolve(tmp_path, trust_remote_code=True).folder / "modeling_custom.py").exists()


def test_a_second_start_downloads_nothing(hub, tmp_path):
    first = resolve(tmp_path)
    hub.requests.clear()
    assert resolve(tmp_path) == first
    assert hub.downloads() == []


def test_a_commit_that_is_cached_needs_no_hub(hub, tmp_path):
    first = resolve(tmp_path, COMMIT)
    hub.requests.clear()
    assert resolve(tmp_path, COMMIT) == first
    assert hub.requests == []


def test_an_unreachable_hub_is_replaced_by_a_whole_copy(hub, tmp_path):
    first = resolve(tmp_path)
    hub.status = 503
    assert resolve(tmp_path) == first


def test_a_copy_with_a_cut_file_is_not_whole(hub, tmp_path):
    weights = resolve(tmp_path).folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    hub.status = 503
    with pytest.raises(Unreachable, match="no complete copy"):
        resolve(tmp_path)


def test_an_interrupted_download_is_not_taken_for_whole(hub, tmp_path):
    hub.cut = "model.safetensors"
    with pytest.raises(NoModel):
        resolve(tmp_path)
    hub.status = 503
    with pytest.raises(Unreachable, match="no complete copy"):
        resolve(tmp_path)
    hub.status = hub.cut = None
    assert (resolve(tmp_path).folder / "model.safetensors").stat().st_size == 10240


@pytest.mark.parametrize(
    ("status", "code", "needle"),
    [
        (404, "RepoNotFound", "the hub has no such model"),
        (404, "RevisionNotFound", "no revision 'v9'"),
        (403, "GatedRepo", "gated"),
        (403, "", "the hub refused"),
        (500, "", "does not answer"),
    ],
)
def test_what_the_hub_says_is_passed_on(hub, tmp_path, status, code, needle):
    hub.status, hub.error_code = status, code
    with pytest.raises(NoModel, match=needle) as caught:
        resolve(tmp_path, "v9")
    assert "org/tiny" in str(caught.value)


def _resolve_and_report(cache, results):
    results.put(str(resolve(cache).folder))


def test_two_processes_at_once_both_get_the_whole_model(hub, tmp_path, files_in, served_files):
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    both = [context.Process(target=_resolve_and_report, args=(tmp_path, results)) for _ in "ab"]
    for process in both:
        process.start()
    folders = {results.get(timeout=60) for _ in both}
    for process in both:
        process.join()
    assert folders == {str(resolve(tmp_path).folder)}
    assert files_in(resolve(tmp_path).folder) == served_files


def test_a_killed_download_is_not_taken_for_whole(hub, tmp_path):
    hub.stall = "model.safetensors"
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    process = context.Process(target=_resolve_and_report, args=(tmp_path, results))
    process.start()
    assert hub.stalled.wait(60)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    hub.release.set()
    hub.stall, hub.status = None, 503
    with pytest.raises(Unreachable, match="no complete copy"):
        resolve(tmp_path)
    hub.status = None
    assert (resolve(tmp_path).folder / "model.safetensors").stat().st_size == 10240
