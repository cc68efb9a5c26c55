"""Whose texts are in the next slice. Pure.

Requests with a slice or less left are *short*, and do not wait for the *long* ones: the two
take turns at the front of a slice, so neither keeps the other out. Long ones take turns
slice by slice. The room behind a slice's first part is filled from both queues.
"""

from collections import deque
from collections.abc import Callable

from stages.load.tokenizer_load import SLICE_BYTES
from stages.requests.ticket import Ticket
from stages.text.sliced_request import SlicedRequest, SlicePart


class SliceScheduler:
    """The requests that are being tokenized."""

    def __init__(self) -> None:
        self._short: deque[SlicedRequest] = deque()
        self._long: deque[SlicedRequest] = deque()
        self._long_is_next = False

    def __len__(self) -> int:
        return len(self._short) + len(self._long)

    def add(self, request: SlicedRequest) -> None:
        """Let ``request`` wait for its next slice."""
        (self._short if request.left <= SLICE_BYTES else self._long).append(request)

    def next_parts(self, alive: Callable[[Ticket], bool]) -> list[SlicePart]:
        """The parts of the next slice; a request with a part in it no longer waits.

        A part that is not plain has a slice of its own, and so has a text longer than one.
        """
        queues = [self._short, self._long]
        if self._long_is_next:
            queues.reverse()
        self._long_is_next = not self._long_is_next
        parts: list[SlicePart] = []
        room = SLICE_BYTES
        for queue in queues:
            while queue and (not parts or (parts[0].is_plain and queue[0].is_plain)):
                if not alive(queue[0].submission.ticket):
                    queue.popleft()
                    continue
                part = queue[0].next_part(room, at_least=0 if parts else 1)
                if part is None:
                    break
                queue.popleft()
                parts.append(part)
                room -= part.size
        return parts
