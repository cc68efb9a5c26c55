"""What a running server adds to its trace file, piece by piece."""

import json
import time
from pathlib import Path
from typing import Final

from attrs import define

from pipeline.observability.tracing import TAIL, WRITE_INTERVAL_S, Tracer

PATIENCE_S: Final = 60.0
ANSWERED: Final = '"outcome":"OK"'
NAMES: Final = Tracer(0.0).take()  # of the rows


@define(eq=False)
class TraceTail:
    """The end of a trace file that a server writes."""

    path: Path
    _read: int = 0  # bytes

    def skip(self) -> None:
        """Leave out what is there."""
        self._read = self.path.stat().st_size

    def take(self, answered: int) -> str:
        """What has come since, as a trace of its own, once ``answered`` more calls are in it.

        Raises:
            RuntimeError: they do not come.
        """
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until:
            piece = self.path.read_bytes()[self._read :]
            events = piece.decode(errors="replace").strip("[,\n]")
            text = (
                Tracer(0.0).take() + (f",\n{events}" if events else "") + TAIL
            )  # with rows' names
            if text.count(ANSWERED) >= answered and _is_whole(text):
                self._read += len(piece)
                return text
            time.sleep(WRITE_INTERVAL_S)
        raise RuntimeError(f"{self.path} does not show the {answered} calls that were answered")


def _is_whole(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True
