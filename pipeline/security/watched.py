"""A value made from files, and made again when they change.

A change shows in a file's time, size or inode, so it is seen however the file was
replaced: overwritten, renamed into place, or by changing the target of a symbolic link,
as Kubernetes does. Files that cannot be used change nothing: the old value stays, and one
log line says why.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, Generic, TypeAlias, TypeVar

import structlog
import trio

from pipeline.security.errors import SecurityFileError

LOOK_EVERY_S: Final = 2.0

T = TypeVar("T")
Stamp: TypeAlias = tuple[tuple[int, int, int] | None, ...]
log = structlog.get_logger()


class Watched(Generic[T]):
    """``make()`` of the files at ``paths``; ``what`` is its setting, for the log.

    ``value`` is the newest; any thread may read it.

    Raises:
        SecurityFileError: the files cannot be used (here only; later the log says so).
    """

    def __init__(self, what: str, paths: Sequence[Path], make: Callable[[], T]) -> None:
        self._what = what
        self._paths = tuple(paths)
        self._make = make
        self._stamp = self._look()
        self.value: T = make()

    def renew(self) -> None:
        """Make the value again if a file has changed. Reads files: not in an event loop."""
        stamp = self._look()
        if stamp == self._stamp:
            return
        self._stamp = stamp
        problem = None
        try:
            self.value = self._make()
        except SecurityFileError as error:
            problem = str(error)
        if problem is None:
            log.info("file changed: the new one is in force", setting=self._what)
        else:
            log.error("file cannot be used: the old one stays", setting=self._what, error=problem)

    def _look(self) -> Stamp:
        return tuple(_stamp(path) for path in self._paths)


async def keep_renewing(watched: Sequence[Watched[Any]]) -> None:
    """Look at the files every two seconds, until cancelled."""
    while True:
        await trio.sleep(LOOK_EVERY_S)
        for each in watched:
            await trio.to_thread.run_sync(each.renew)


def read_text(path: Path) -> str:
    """The text of a file.

    Raises:
        SecurityFileError: it cannot be read, or is not UTF-8; the message does not name it.
    """
    try:
        return path.read_text("utf-8")
    except OSError as error:
        raise SecurityFileError(error.strerror or "cannot be read") from None
    except UnicodeDecodeError:
        raise SecurityFileError("not UTF-8 text") from None


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
