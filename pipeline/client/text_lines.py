"""The lines of a text file, read as they are needed."""

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Final, Protocol

from attrs import frozen

BOM: Final = b"\xef\xbb\xbf"


class LinesError(Exception):
    """The file cannot be used; the message says why and where."""


class Lines(Protocol):
    """Texts by their numbers, from 0."""

    def __len__(self) -> int: ...

    def between(self, start: int, end: int) -> Iterator[str]:
        """The texts from ``start`` to ``end - 1``."""
        ...

    def origin(self) -> Mapping[str, object]:
        """What tells these texts from others.

        Raises:
            LinesError: they have changed since they were first read.
        """
        ...


@frozen
class GivenLines:
    """Texts that are in memory."""

    texts: Sequence[str]

    def __len__(self) -> int:
        return len(self.texts)

    def between(self, start: int, end: int) -> Iterator[str]:
        """See :class:`Lines`."""
        return iter(self.texts[start:end])

    def origin(self) -> Mapping[str, object]:
        """See :class:`Lines`."""
        return {}


class FileLines:
    """The lines of a UTF-8 file, without their ends.

    Raises:
        LinesError: it cannot be read, holds no lines, or one is not UTF-8.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._origin = self._look()
        self._count = sum(1 for _ in self.between(0, sys.maxsize))
        if not self._count:
            raise LinesError("holds no lines")

    def __len__(self) -> int:
        return self._count

    def between(self, start: int, end: int) -> Iterator[str]:
        """See :class:`Lines`."""
        yield from decoded(islice(self._read(), start, end), start)

    def origin(self) -> Mapping[str, object]:
        """See :class:`Lines`: its size and when it was written."""
        if self._look() != self._origin:
            raise LinesError("has changed while it was read")
        return self._origin

    def _read(self) -> Iterator[bytes]:
        try:
            with self._path.open("rb") as file:
                yield from without_bom(file)
        except OSError as error:
            raise LinesError(error.strerror or str(error)) from error

    def _look(self) -> Mapping[str, object]:
        try:
            found = self._path.stat()
        except OSError as error:
            raise LinesError(error.strerror or str(error)) from error
        return {"size": found.st_size, "mtime_ns": found.st_mtime_ns}


def stdin_lines() -> GivenLines:
    """The lines of stdin.

    Raises:
        LinesError: it holds none, or one is not UTF-8.
    """
    return _held(sys.stdin.buffer)


def lines_of(path: Path) -> Lines:
    """The lines of a file, or of a pipe: that can be read only once, so they are held.

    Raises:
        LinesError: see :class:`FileLines`.
    """
    try:
        if path.is_fifo():
            with path.open("rb") as pipe:
                return _held(pipe)
    except OSError as error:
        raise LinesError(error.strerror or str(error)) from error
    return FileLines(path)


def _held(lines: Iterable[bytes]) -> GivenLines:
    held = GivenLines(list(decoded(without_bom(lines), 0)))
    if not held:
        raise LinesError("holds no lines")
    return held


def without_bom(lines: Iterable[bytes]) -> Iterator[bytes]:
    """``lines`` without the byte order mark that some programs write first."""
    for number, line in enumerate(lines):
        rest = line if number else line.removeprefix(BOM)
        if rest or number:
            yield rest


def decoded(lines: Iterable[bytes], first: int) -> Iterator[str]:
    """The texts of ``lines``, the first of which is number ``first`` of the file, from 0."""
    for number, line in enumerate(lines, first + 1):
        try:
            yield line.removesuffix(b"\n").removesuffix(b"\r").decode()
        except UnicodeDecodeError:
            raise LinesError(f"line {number} is not UTF-8") from None
