"""The notes beside a file that is filled in parts: what it is made from, and what is done.

The first line is the origin, as JSON; each line after it is a range of rows. An unfinished
last line is ignored.
"""

import fcntl
import json
import os
import re
from pathlib import Path
from typing import Final

from pipeline.client.row_ranges import RowRanges
from pipeline.client.vector_file_error import VectorFileError

NOTE: Final = re.compile(r"([0-9]{1,18}) ([0-9]{1,18})")


class ProgressNotes:
    """The notes at ``path``, which no other run writes until they are closed.

    False where an earlier run has left none.

    Raises:
        VectorFileError: another run is writing them.
        OSError: they cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            notes = os.pread(self._file, os.fstat(self._file).st_size, 0)
        except BlockingIOError:
            os.close(self._file)
            raise VectorFileError("another run is writing it") from None
        except BaseException:
            os.close(self._file)
            raise
        self._lines = notes.decode(errors="replace").split("\n")[:-1]

    def __bool__(self) -> bool:
        return bool(self._lines)

    def are_of(self, origin: str) -> bool:
        """Whether they were begun with this very line."""
        return self._lines[:1] == [origin]

    def differences(self, origin: str) -> str:
        """What their origin has otherwise; empty where nothing.

        Raises:
            VectorFileError: the first note says nothing of an origin.
        """
        try:
            before = json.loads(self._lines[0])
        except (ValueError, RecursionError):
            before = None
        if not isinstance(before, dict):
            raise self._foreign(1)
        now = json.loads(origin)
        other = sorted(name for name in before | now if before.get(name) != now.get(name))
        return ", ".join(f"{name} was {before.get(name)} and is {now.get(name)}" for name in other)

    def done(self, rows: int) -> RowRanges:
        """What they say is done of so many rows.

        Raises:
            VectorFileError: a note is not a range of them.
        """
        ranges = RowRanges()
        for number, note in enumerate(self._lines[1:], 2):
            found = NOTE.fullmatch(note)
            start, end = map(int, found.groups()) if found else (0, 0)
            if not 0 <= start < end <= rows:
                raise self._foreign(number)
            ranges.add(start, end)
        return ranges

    def begin(self, origin: str) -> None:
        """Throw away what is there, and note the origin."""
        os.ftruncate(self._file, 0)
        self.add(origin)

    def go_on(self) -> None:
        """Keep what is there."""
        # A torn last line would swallow the next note.
        os.ftruncate(self._file, sum(len(line.encode()) + 1 for line in self._lines))

    def add(self, line: str) -> None:
        """Note it; safe on disk on return."""
        os.lseek(self._file, 0, os.SEEK_END)
        os.write(self._file, line.encode() + b"\n")
        os.fsync(self._file)

    def close(self) -> None:
        """Let other runs write."""
        os.close(self._file)

    def remove(self) -> None:
        """Leave none."""
        self._path.unlink(missing_ok=True)

    def _foreign(self, number: int) -> VectorFileError:
        return VectorFileError(
            f"line {number} of {self._path.name} was not written by an earlier run: "
            "remove that file"
        )
