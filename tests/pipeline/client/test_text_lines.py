"""The lines of a file, one by one."""

import io
import os
import sys
import threading
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.client import text_lines
from pipeline.client.text_lines import FileLines, GivenLines, LinesError, stdin_lines

LINE = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=9)


def lines_of(folder, data):
    path = folder / "lines.txt"
    path.write_bytes(data)
    return FileLines(path)


@given(
    st.lists(LINE, min_size=1, max_size=20),
    st.sampled_from(["\n", "\r\n"]),
    st.booleans(),
    st.integers(0, 20),
    st.integers(0, 20),
)
def test_any_part_can_be_read(tmp_path_factory, texts, end, last_ends, start, stop):
    texts[-1] = texts[-1] or "x"  # an empty last line without an end is none
    data = end.join(texts) + (end if last_ends else "")
    lines = lines_of(tmp_path_factory.mktemp("lines"), data.removeprefix("\ufeff").encode())
    texts[0] = texts[0].removeprefix("\ufeff")
    assert list(lines.between(0, len(lines))) == texts
    assert list(lines.between(start, stop)) == texts[start:stop]


def test_a_mark_at_the_beginning_is_no_text(tmp_path):
    assert list(lines_of(tmp_path, b"\xef\xbb\xbfa\nb").between(0, 9)) == ["a", "b"]


@pytest.mark.parametrize("data", [b"", b"\xef\xbb\xbf"])
def test_no_lines_are_an_error(tmp_path, data):
    with pytest.raises(LinesError, match="holds no lines"):
        lines_of(tmp_path, data)


def test_what_is_not_utf8_is_named_by_its_line(tmp_path):
    with pytest.raises(LinesError, match="line 2 is not UTF-8"):
        lines_of(tmp_path, b"a\n\xff\nc\n")


def test_a_file_that_is_not_there_is_said(tmp_path):
    with pytest.raises(LinesError, match="No such file"):
        FileLines(tmp_path / "nothing")


def test_a_file_that_changes_is_noticed(tmp_path):
    lines = lines_of(tmp_path, b"a\nb\n")
    assert lines.origin() == lines.origin()
    (tmp_path / "lines.txt").write_bytes(b"a\nb\nc\n")
    with pytest.raises(LinesError, match="has changed"):
        lines.origin()


def test_a_pipe_is_read_once(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(b"a\r\n\nb",))
    writer.start()
    lines = text_lines.lines_of(pipe)
    writer.join()
    assert list(lines.between(0, len(lines))) == list(lines.between(0, 9)) == ["a", "", "b"]


def test_stdin_is_read_the_same_way(monkeypatch):
    buffer = io.BytesIO(b"\xef\xbb\xbfa\r\n\nb")
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=buffer))
    assert stdin_lines() == GivenLines(["a", "", "b"])
