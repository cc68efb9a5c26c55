"""How many calls of work are in flight at the HTTP edge: bounded, and waited for at the end."""

from collections.abc import Iterator
from contextlib import contextmanager

import trio

from pipeline.interface.request_checks import refusal
from pipeline.interface.status import Phase, StatusBoard, not_serving


class ConcurrencyLimit:
    """A place for each call of work, from its headers until its answer is written.

    At most ``most`` are taken. Trio's thread only.
    """

    def __init__(self, board: StatusBoard, most: int) -> None:
        self._board = board
        self._most = most
        self._taken = 0
        self._closed = False
        self._changed = trio.Event()

    @property
    def taken(self) -> int:
        """Calls of work in flight."""
        return self._taken

    @contextmanager
    def one(self) -> Iterator[None]:
        """Hold a place.

        Raises:
            PenstockError: none is free, or the server takes no work.
        """
        if self._closed:
            raise not_serving(Phase.DRAINING)
        if (error := refusal(self._board.snapshot, self._taken, self._most)) is not None:
            raise error
        self._taken += 1
        try:
            yield
        finally:
            self._taken -= 1
            if not self._taken:
                self._changed.set()

    def close(self) -> None:
        """Give no more places."""
        self._closed = True

    async def empty(self) -> None:
        """Wait until all places are free."""
        while self._taken:
            self._changed = trio.Event()
            await self._changed.wait()
