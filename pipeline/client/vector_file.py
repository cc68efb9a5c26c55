"""A .npy file that is filled in parts, and survives its writer's death.

Until it is complete it is called ``NAME.part``, and ``NAME.progress`` lies beside it, with
what it is made from and each range of rows that is safe on disk. A range is noted only
after its rows have been synced, so whatever is noted is there, even if the machine fails.
Rows are written, not mapped, and take no memory here.
"""

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from pipeline.client.progress_notes import ProgressNotes
from pipeline.client.row_ranges import RowRanges
from pipeline.client.vector_file_error import VectorFileError

SYNC_EVERY_S: Final = 5.0
SYNC_EVERY_ROWS: Final = 16384
ROW_TYPE: Final = np.dtype("<f4")


class VectorFile:
    """float32 [rows, dimension] at ``output``; ``origin`` says what it is made from.

    With ``resume`` what an earlier run left is continued, provided that its origin is the
    same. The notes then stay beside the complete file, so that the next run sees that it is
    ``finished``; one of another origin is made anew. Without ``resume`` the rest of an
    earlier run is an error, and nothing but the complete file stays behind.

    Raises:
        VectorFileError: another run is writing it, or what is there has another origin, or
            is not a file of this kind.
        OSError: it cannot be written.
    """

    def __init__(
        self,
        output: Path,
        rows: int,
        dimension: int,
        origin: Mapping[str, object],
        *,
        resume: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._output = output = Path(os.path.realpath(output))  # a link stays one
        if output.is_dir():
            raise VectorFileError("is a folder")
        self._part = output.with_name(output.name + ".part")
        self._shape = rows, dimension
        self._resume = resume
        self._clock = clock
        self._header = _npy_header(self._shape)
        self._size = len(self._header) + rows * dimension * ROW_TYPE.itemsize
        self.done = RowRanges()
        self.finished = False  # before this run
        self._unsynced = RowRanges()
        self._synced_at = clock()
        self._notes = ProgressNotes(output.with_name(output.name + ".progress"))
        try:
            self._begin(json.dumps({**origin, "rows": rows, "dimension": dimension}))
        except BaseException:
            self._notes.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        try:
            if kind is None:
                self._finish()
            elif self._resume:
                self._sync()
        finally:
            os.close(self._rows)
            self._notes.close()
            if not self._resume:  # where it is whole it has its name by now
                self._part.unlink(missing_ok=True)
                self._notes.remove()

    def gaps(self) -> Iterator[tuple[int, int]]:
        """The ranges of rows that are missing."""
        return self.done.gaps(self._shape[0])

    def write(self, start: int, vectors: NDArray[np.float32]) -> None:
        """Put float32 [n, dimension] at the rows from ``start`` on."""
        if vectors.ndim != 2 or vectors.shape[1] != self._shape[1]:
            raise VectorFileError(f"rows of shape {vectors.shape[1:]}, not {self._shape[1:]}")
        data = np.ascontiguousarray(vectors, ROW_TYPE).data.cast("B")
        at = len(self._header) + start * self._shape[1] * ROW_TYPE.itemsize
        while data:
            written = os.pwrite(self._rows, data, at)
            data, at = data[written:], at + written
        self._unsynced.add(start, start + len(vectors))
        late = self._clock() >= self._synced_at + SYNC_EVERY_S
        if late or self._unsynced.count >= SYNC_EVERY_ROWS:
            self._sync()

    def _begin(self, origin: str) -> None:
        if self._notes and self._part.exists():
            if not self._resume:
                raise VectorFileError(
                    f"{self._part.name} holds a part of it: continue with --resume, or remove it"
                )
            self._go_on(origin)
            return
        if self._resume and self._is_whole(origin):
            self.finished = True
            self._rows = os.open(self._output, os.O_RDONLY)
            return
        self.done = RowRanges()
        self._rows = os.open(self._part, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644)
        os.pwrite(self._rows, self._header, 0)
        os.ftruncate(self._rows, self._size)
        os.fsync(self._rows)
        self._notes.begin(origin)

    def _go_on(self, origin: str) -> None:
        if what := self._notes.differences(origin):
            raise VectorFileError(f"{self._part.name} is part of something else: {what}")
        self.done = self._notes.done(self._shape[0])
        if self._part.stat().st_size != self._size:
            raise VectorFileError(
                f"{self._part.name} does not have the size of {self._shape[0]} vectors"
            )
        self._rows = os.open(self._part, os.O_RDWR)
        self._notes.go_on()

    def _is_whole(self, origin: str) -> bool:
        """Whether the output is there, and made from the same."""
        if not self._notes.are_of(origin) or not self._output.exists():
            return False
        self.done = self._notes.done(self._shape[0])
        return next(self.gaps(), None) is None and self._output.stat().st_size == self._size

    def _sync(self) -> None:
        """Make what has been written safe, then note it."""
        os.fsync(self._rows)
        for start, end in self._unsynced:
            self._notes.add(f"{start} {end}")
            self.done.add(start, end)
        self._unsynced = RowRanges()
        self._synced_at = self._clock()

    def _finish(self) -> None:
        if self.finished:
            return
        self._sync()
        missing = next(self.gaps(), None)
        if missing is not None:
            raise VectorFileError(f"rows {missing[0]} to {missing[1] - 1} are missing")
        self._part.replace(self._output)


def _npy_header(shape: tuple[int, int]) -> bytes:
    """What stands before the rows, as numpy writes it."""
    header = BytesIO()
    description: dict[str, Any] = {"descr": ROW_TYPE.str, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(header, description)
    return header.getvalue()
