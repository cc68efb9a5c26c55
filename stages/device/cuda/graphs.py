"""CUDA graphs of packed shapes: captured one by one, hot ones first, rest when idle.

What is captured serves; what is not yet, or never will be, runs eagerly. Graphs share
their memory, so nearly all of it is taken by the largest shape, which comes first. A shape
that does not fit into the device's memory is left out with all of half its size. Capturing
ends early when the others have taken their share of that memory, or when one cannot be
captured: what has been captured goes on serving.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final

import structlog

from stages.device.cuda.gpu import Gpu, Replay
from stages.device.cuda.graph_shapes import GraphShapes, PackedShape, hot_first
from stages.device.faults import wants_memory

MEMORY_SHARE: Final = 0.1  # of the device's memory, for all graphs beside the one that takes most

log = structlog.get_logger()


class Graphs:
    """The graphs of one device; belongs to its thread.

    ``rehearse`` prepares the input for a shape and returns the pass to capture.
    """

    def __init__(
        self,
        gpu: Gpu,
        shapes: Iterable[PackedShape],
        rehearse: Callable[[PackedShape], Callable[[], None]],
    ) -> None:
        self._gpu = gpu
        self._rehearse = rehearse
        hot, rest = hot_first(list(shapes))
        self._hot, self._rest = deque(hot), deque(rest)
        self._serving = GraphShapes()
        self._whole = GraphShapes([*hot, *rest])
        self._replays: dict[PackedShape, Replay] = {}
        self._share = MEMORY_SHARE * gpu.total_bytes()
        self._most_bytes = 0  # of one graph
        self._seconds = 0.0
        self.memory_bytes = 0

    def __len__(self) -> int:
        return len(self._replays)

    def capture_hot(self) -> None:
        """Capture what a server meets from its first moment."""
        if not self._hot:
            return
        while self._hot:
            self._capture(self._hot.popleft())
        self._say("the first CUDA graphs are captured")

    def capture_next(self) -> bool:
        """Capture one more, if any is left; whether more are."""
        if not self._rest:
            return False
        self._capture(self._rest.popleft())
        if not self._rest:
            self._say("all CUDA graphs are captured")
        return bool(self._rest)

    def shape_for(self, tokens: int, sequences: int, longest: int) -> PackedShape | None:
        """The captured shape that serves such a batch; None: run it eagerly.

        A better one that waits for its capture is the next to be captured.
        """
        found = self._serving.key_for(tokens, sequences, longest)
        best = self._whole.key_for(tokens, sequences, longest) if self._rest else found
        if best is not None and best != found and best in self._rest:
            self._rest.remove(best)
            self._rest.appendleft(best)
        return found

    def replay(self, shape: PackedShape) -> None:
        """Run the graph of ``shape``."""
        self._replays[shape]()

    def _capture(self, shape: PackedShape) -> None:
        started = time.perf_counter()
        free = self._gpu.free_bytes()
        try:
            self._replays[shape] = self._gpu.capture(self._rehearse(shape))
        except Exception as error:  # of any kind: there is a way to serve without
            fits = shape.tokens // 2 if wants_memory(error) else 0
            self._leave_out(_reason(error), shape, fits)
            return
        self._serving.add(shape)
        taken = max(0, free - self._gpu.free_bytes())
        self._most_bytes = max(self._most_bytes, taken)
        self.memory_bytes += taken
        self._seconds += time.perf_counter() - started
        if self.memory_bytes > self._most_bytes + self._share:
            taken_mib = self.memory_bytes / 2**20
            self._leave_out(f"{taken_mib:.0f} MiB are their share of memory", shape)

    def _leave_out(self, reason: str, shape: PackedShape, tokens: int = 0) -> None:
        """Capture nothing of so many tokens and more."""
        waiting = len(self._hot) + len(self._rest)
        self._hot = deque(each for each in self._hot if each.tokens < tokens)
        self._rest = deque(each for each in self._rest if each.tokens < tokens)
        log.warning(
            "CUDA graphs are left out" if tokens else "no more CUDA graphs are captured",
            reason=reason,
            shape=str(shape),
            left_out=waiting - len(self._hot) - len(self._rest),
        )

    def _say(self, event: str) -> None:
        log.info(
            event,
            device=str(self._gpu.device),
            graphs=len(self),
            waiting=len(self._rest),
            memory_mib=round(self.memory_bytes / 2**20, 1),
            seconds=round(self._seconds, 2),
        )


def _reason(error: BaseException) -> str:
    """What went wrong first: a capture that is broken off says only that it was."""
    while error.__context__ is not None:
        error = error.__context__
    return f"{type(error).__name__}: {error}".partition("\n")[0]
