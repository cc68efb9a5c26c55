"""The structure of a JSON text, found without parsing it.

A parser holds the interpreter lock until it is done, and 16 MiB of ``[],[],`` take it longer
than a second. numpy releases the lock: so a large text is first scanned here for how many
arrays and objects it has, how deep they are nested, and where the elements of its longest
array begin. Text that is not JSON may give any structure, and fails when it is parsed.

The text is scanned in pieces of a megabyte, so that little memory is needed. Three things
are carried over from piece to piece: whether it ended within a string, whether right after
an odd number of backslashes, and at which depth.
"""

from typing import Final, TypeAlias

import numpy as np
from attrs import define, field, frozen
from numpy.typing import NDArray

from stages.errors import TooLarge

PIECE_BYTES: Final = 1 << 20
MAX_DEPTH: Final = 16  # no request goes deeper than 4
QUOTE, BACKSLASH, COMMA = b'"\\,'
OPENING, CLOSING = b"[{", b"]}"

Bytes: TypeAlias = NDArray[np.uint8]
Places: TypeAlias = NDArray[np.int64]


@frozen
class JsonLimits:
    """How many arrays and objects a text may have in all, and elements in one array."""

    containers: int
    elements: int


@define(eq=False)
class Span:
    """A value of the outermost object: from after its opening bracket to before the closing one.

    ``commas`` are the places of those between its elements.
    """

    start: int
    end: int = 0
    commas: list[Places] = field(factory=list)


@define(eq=False)
class JsonScan:
    """What has been seen of a text; ``spans`` are the values of the outermost object."""

    most: JsonLimits
    containers: int = 0
    spans: list[Span] = field(factory=list)
    _depth: int = 0
    _in_string: int = 0
    _escaped: bool = False  # the next byte
    _commas: int = 0  # since the last bracket
    _read: int = 0

    @classmethod
    def of(cls, text: bytes, most: JsonLimits) -> "JsonScan":
        """The structure of ``text``.

        Raises:
            TooLarge: it has more than ``most``, or is nested too deeply.
        """
        scan, whole = cls(most), np.frombuffer(text, np.uint8)
        for first in range(0, len(whole), PIECE_BYTES):
            scan.add(whole[first : first + PIECE_BYTES])
        return scan

    @property
    def closed(self) -> bool:
        """Whether every bracket and string has its end."""
        return not (self._depth or self._in_string)

    def add(self, piece: Bytes) -> None:
        """Scan the next piece."""
        outside = ~self._strings(piece)
        step = np.zeros(len(piece), np.int8)
        for byte in OPENING:
            step[outside & (piece == byte)] = 1
        for byte in CLOSING:
            step[outside & (piece == byte)] = -1
        self._follow(np.flatnonzero(step), step, np.flatnonzero(outside & (piece == COMMA)))
        self._read += len(piece)

    def _strings(self, piece: Bytes) -> NDArray[np.bool_]:
        """Which bytes are in strings, bool [bytes]; opening quotes are, closing ones are not."""
        quotes = piece == QUOTE
        if self._escaped:
            quotes[0] = False
        slashes = np.flatnonzero(piece == BACKSLASH)
        if len(slashes) and slashes[0] == 0 and self._escaped:
            slashes = slashes[1:]  # the first is escaped by the previous piece's last
        self._escaped = False
        if len(slashes):
            index = np.arange(len(slashes))
            new = np.diff(slashes, prepend=-2) != 1
            in_run = index - np.maximum.accumulate(np.where(new, index, 0))
            after = slashes[in_run % 2 == 0] + 1  # every second one escapes what follows
            self._escaped = bool(after[-1] == len(piece))
            quotes[after[: len(after) - self._escaped]] = False
        inside = (np.cumsum(quotes, dtype=np.uint8) + self._in_string) % 2
        self._in_string = int(inside[-1])
        return inside.astype(np.bool_)

    def _follow(self, places: Places, step: NDArray[np.int8], commas: Places) -> None:
        """Follow the brackets at ``places``."""
        steps = step[places]
        depths = np.cumsum(steps, dtype=np.int64) + self._depth  # after each
        self.containers += int(np.count_nonzero(steps == 1))
        if self.containers > self.most.containers:
            raise TooLarge(f"the body has more than {self.most.containers} arrays and objects")
        if len(depths) and depths.max() > MAX_DEPTH:
            raise TooLarge(f"the body is nested deeper than {MAX_DEPTH}")
        self._count(np.searchsorted(commas, places), len(commas))
        before = np.concatenate([[self._depth], depths])
        between = commas[before[np.searchsorted(places, commas)] == 2]
        edges = places[(depths == 2) & (steps == 1) | (depths == 1) & (steps == -1)]
        self._note_spans(edges, between)
        self._depth = int(before[-1])

    def _note_spans(self, edges: Places, between: Places) -> None:
        """Begin and end spans at ``edges``, and give each of them its commas ``between``."""
        first = 0
        for edge in edges:
            last = int(np.searchsorted(between, edge))
            if (span := self._open_span) is None:
                self.spans.append(Span(self._read + int(edge) + 1))
            else:
                span.commas.append(between[first:last] + self._read)
                span.end = self._read + int(edge)
            first = last
        if (span := self._open_span) is not None:
            span.commas.append(between[first:] + self._read)

    @property
    def _open_span(self) -> Span | None:
        return self.spans[-1] if self.spans and not self.spans[-1].end else None

    def _count(self, commas_before: Places, commas: int) -> None:
        """Check the commas between two brackets: an array has at least as many elements."""
        runs = np.diff(commas_before, prepend=-self._commas, append=commas)
        if int(runs.max()) >= self.most.elements:
            raise TooLarge(f"the body has an array of more than {self.most.elements} elements")
        self._commas = int(runs[-1])
