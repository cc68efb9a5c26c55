"""A .npy file that is filled in parts and gone on with."""

import itertools
import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.client import vector_file
from pipeline.client.vector_file import VectorFile
from pipeline.client.vector_file_error import VectorFileError

TABLE = np.random.default_rng(1).random((50, 3)).astype(np.float32)
ORIGIN = {"size": 7, "fingerprint": "f"}


class Died(Exception):
    pass


@pytest.fixture
def output(tmp_path):
    return tmp_path / "vectors.npy"


@pytest.fixture
def each_row_synced(monkeypatch):
    monkeypatch.setattr(vector_file, "SYNC_EVERY_ROWS", 1)


def opened(output, origin=None, *, resume=True, shape=(50, 3)):
    return VectorFile(output, *shape, origin or ORIGIN, resume=resume)


def fill(output, parts, *, resume=True, dies=False):
    with opened(output, resume=resume) as vectors:
        for start, end in parts:
            vectors.write(start, TABLE[start:end])
        if dies:
            raise Died


def die_after(output, parts, *, resume=True):
    with pytest.raises(Died):
        fill(output, parts, resume=resume, dies=True)


def names(output):
    return sorted(path.name for path in output.parent.iterdir())


def test_rows_may_come_in_any_order(output):
    fill(output, [(20, 50), (0, 5), (5, 20)], resume=False)
    np.testing.assert_array_equal(np.load(output), TABLE)
    assert np.load(output).dtype == np.float32
    assert names(output) == ["vectors.npy"]


def test_it_has_its_name_only_when_it_is_whole(output):
    with opened(output, resume=False) as vectors:
        vectors.write(0, TABLE)
        assert not output.exists()
    assert output.exists()


def test_a_row_that_is_missing_is_an_error(output):
    with pytest.raises(VectorFileError, match="rows 5 to 19 are missing"):
        fill(output, [(0, 5), (20, 50)])
    assert not output.exists()


def test_a_run_goes_on_where_the_last_one_stopped(output):
    die_after(output, [(0, 5), (20, 30)])
    with opened(output) as vectors:
        assert list(vectors.gaps()) == [(5, 20), (30, 50)]
        vectors.write(5, TABLE[5:20])
        vectors.write(30, TABLE[30:])
    np.testing.assert_array_equal(np.load(output), TABLE)
    assert names(output) == ["vectors.npy", "vectors.npy.progress"]


def test_what_is_finished_is_left_alone(output):
    fill(output, [(0, 50)])
    before = output.stat()
    with opened(output) as vectors:
        assert vectors.finished
        assert list(vectors.gaps()) == []
    assert output.stat().st_mtime_ns == before.st_mtime_ns
    assert names(output) == ["vectors.npy", "vectors.npy.progress"]


@pytest.mark.parametrize("change", ["origin", "torn", "gone", "without_resume"])
def test_what_is_finished_is_made_anew_when_it_is_not_the_same(output, change):
    fill(output, [(0, 50)])
    match change:
        case "torn":
            os.truncate(output, 200)
        case "gone":
            output.unlink()
    origin = {"size": 8, "fingerprint": "f"} if change == "origin" else ORIGIN
    with opened(output, origin, resume=change != "without_resume") as vectors:
        assert not vectors.finished
        assert list(vectors.gaps()) == [(0, 50)]
        vectors.write(0, TABLE[::-1])
    np.testing.assert_array_equal(np.load(output), TABLE[::-1])


def test_a_run_that_died_between_the_last_row_and_the_name_is_ended(output, each_row_synced):
    die_after(output, [(0, 50)])
    with opened(output) as vectors:
        assert not vectors.finished
        assert list(vectors.gaps()) == []
    np.testing.assert_array_equal(np.load(output), TABLE)


def test_without_resume_nothing_stays_behind(output):
    die_after(output, [(0, 5)], resume=False)
    assert names(output) == []


def test_without_resume_the_rest_of_an_earlier_run_is_not_thrown_away(output):
    die_after(output, [(0, 5)])
    with pytest.raises(VectorFileError, match="continue with --resume"):
        opened(output, resume=False)
    with opened(output) as vectors:
        assert vectors.done.count == 5
        vectors.write(5, TABLE[5:])


@pytest.mark.parametrize(
    ("origin", "shape"),
    [
        ({"size": 8, "fingerprint": "f"}, (50, 3)),
        ({"size": 7, "fingerprint": "g"}, (50, 3)),
        (ORIGIN, (51, 3)),
        (ORIGIN, (50, 4)),
    ],
)
def test_what_is_made_from_something_else_is_not_gone_on_with(output, origin, shape):
    die_after(output, [(0, 5)])
    with pytest.raises(VectorFileError, match=r"is part of something else: .* was .* and is"):
        opened(output, origin, shape=shape)


def test_two_runs_do_not_write_one_file(output):
    with opened(output) as vectors:
        with pytest.raises(VectorFileError, match="another run"):
            opened(output)
        vectors.write(0, TABLE)


def test_rows_of_another_width_are_refused(output):
    with (
        pytest.raises(VectorFileError, match="rows of shape"),
        opened(output, resume=False) as vectors,
    ):
        vectors.write(0, TABLE[:, :2])


def test_what_is_noted_is_on_disk_first(output, each_row_synced, monkeypatch):
    done = []
    real_fsync, real_write = os.fsync, os.write
    monkeypatch.setattr(os, "fsync", lambda fd: done.append(("sync", fd)) or real_fsync(fd))
    monkeypatch.setattr(
        os, "write", lambda fd, data: done.append(("note", data)) or real_write(fd, data)
    )
    with opened(output) as vectors:
        done.clear()
        vectors.write(0, TABLE)
        assert [kind for kind, _ in done] == ["sync", "note", "sync"]
        assert done[0][1] != done[2][1]  # the rows, then the note
        assert done[1][1] == b"0 50\n"


@given(st.integers(0, 200), st.lists(st.integers(1, 49), unique=True, max_size=6))
def test_wherever_the_progress_is_torn_off_no_row_is_wrong(tmp_path_factory, torn_at, cuts):
    output = tmp_path_factory.mktemp("torn") / "vectors.npy"
    edges = [0, *sorted(cuts), 50]
    pairs = list(itertools.pairwise(edges))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vector_file, "SYNC_EVERY_ROWS", 1)
        die_after(output, pairs[:-1])
    progress = output.with_name("vectors.npy.progress")
    noted = progress.read_bytes()
    progress.write_bytes(noted[:torn_at])
    with opened(output) as vectors:
        for start, end in vectors.done:
            assert (start, end) == (0, end)  # noted in order, so a torn one is a shorter one
            assert end in edges
        for start, end in tuple(vectors.gaps()):
            vectors.write(start, TABLE[start:end])
    np.testing.assert_array_equal(np.load(output), TABLE)


def test_a_torn_last_note_does_not_swallow_the_next(output, each_row_synced):
    die_after(output, [(0, 5), (5, 10)])
    progress = output.with_name("vectors.npy.progress")
    progress.write_bytes(progress.read_bytes()[:-2])
    die_after(output, [(5, 12)])
    with opened(output) as vectors:
        assert list(vectors.done) == [(0, 12)]
        vectors.write(12, TABLE[12:])
    np.testing.assert_array_equal(np.load(output), TABLE)


@pytest.mark.parametrize("resume", [True, False])
def test_a_folder_is_told_before_any_work(output, resume):
    output.mkdir()
    with pytest.raises(VectorFileError, match="is a folder"):
        opened(output, resume=resume)
    assert names(output) == ["vectors.npy"]


def test_a_link_stays_one(output, tmp_path_factory):
    real = tmp_path_factory.mktemp("elsewhere") / "real.npy"
    output.symlink_to(real)
    fill(output, [(0, 50)], resume=False)
    assert output.is_symlink()
    np.testing.assert_array_equal(np.load(real), TABLE)


@pytest.mark.parametrize(
    ("line", "note"),
    [(1, "garbage"), (1, "[1]"), (2, "x y"), (2, "5 5"), (2, "40 51"), (2, "3"), (2, "-1 3")],
)
def test_notes_that_are_none_are_told(output, line, note):
    die_after(output, [(0, 5)])
    progress = output.with_name("vectors.npy.progress")
    notes = progress.read_text().splitlines()
    progress.write_text("\n".join([*notes[: line - 1], note, ""]))
    with pytest.raises(VectorFileError, match=f"line {line} of vectors.npy.progress was not"):
        opened(output)


def test_a_part_of_another_size_is_not_gone_on_with(output):
    die_after(output, [(0, 50)])
    output.with_name("vectors.npy.part").write_bytes(b"")
    with pytest.raises(VectorFileError, match="does not have the size of 50 vectors"):
        opened(output)
    assert not output.exists()


def test_a_run_that_fails_at_its_end_leaves_nothing(output):
    with pytest.raises(VectorFileError, match="rows 5 to 49 are missing"):
        fill(output, [(0, 5)], resume=False)
    assert names(output) == []
