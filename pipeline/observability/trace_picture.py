"""Draws a trace file as an SVG picture: ``python -m pipeline.observability.trace_picture IN OUT``.

A band for each row of the trace; in it, spans that overlap lie in lanes one above
the other. A request keeps its colour from stage to stage; a batch takes a grey that
is darker the more true tokens it ran, and has their number on it.
"""

import argparse
import heapq
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final
from xml.sax.saxutils import escape

from attrs import frozen

from pipeline.observability.tracing import TAIL

WIDTH: Final = 1200  # pixels, as all below
MARGIN: Final = 110  # for the names of the rows
BAND: Final = (14, 120)  # least and greatest height of a row
LANE: Final = 5  # height of a lane between these
GAP: Final = 10
TICKS: Final = 8
HUE_STEP: Final = 137.5  # degrees; the golden angle keeps neighbours apart


@frozen
class Span:
    """One bar: times in microseconds; ``request`` is None for a batch."""

    row: str
    begin: int
    end: int
    request: int | None
    tokens: int


def read_trace(text: str) -> list[dict[str, Any]]:
    """The events of a trace file, even of one whose end is missing."""
    if not text.endswith(TAIL):
        text = text.rpartition(",\n")[0] + TAIL  # one event per line; the last may be cut
    return list(json.loads(text))


def spans_of(events: Sequence[dict[str, Any]]) -> Iterator[Span]:
    """The spans and batches among ``events``; a span that has no end is left out."""
    rows = {e["pid"]: e["args"]["name"] for e in events if e["name"] == "process_name"}
    ends = {(e["cat"], e["id"]): e["ts"] for e in events if e["ph"] == "e"}
    for event in events:
        args = event.get("args", {})
        if event["ph"] == "X":
            end = event["ts"] + event["dur"]
            yield Span(rows[event["pid"]], event["ts"], end, None, args["tokens"])
        elif event["ph"] == "b" and (event["cat"], event["id"]) in ends:
            end = ends[event["cat"], event["id"]]
            yield Span(rows[event["pid"]], event["ts"], end, args["request"], 0)


def lanes_of(spans: Iterable[Span]) -> list[tuple[int, Span]]:
    """Each span with the lowest lane that is free for all of it; 0 is the first."""
    busy: list[tuple[int, int]] = []  # (until, lane)
    free: list[int] = []
    placed = []
    for span in sorted(spans, key=lambda span: (span.begin, span.end)):
        while busy and busy[0][0] <= span.begin:
            heapq.heappush(free, heapq.heappop(busy)[1])
        lane = heapq.heappop(free) if free else len(busy)
        heapq.heappush(busy, (span.end, lane))
        placed.append((lane, span))
    return placed


def draw(events: Sequence[dict[str, Any]]) -> str:
    """The picture of ``events``, as SVG."""
    rows = [e["args"]["name"] for e in events if e["name"] == "process_name"]
    spans = list(spans_of(events))
    begin = min((span.begin for span in spans), default=0)
    scale = (WIDTH - MARGIN - GAP) / max(1, max((s.end for s in spans), default=1) - begin)
    most = max((span.tokens for span in spans), default=1)
    parts, top = [], float(GAP)
    for row in rows:
        placed = lanes_of(span for span in spans if span.row == row)
        lanes = 1 + max((lane for lane, _ in placed), default=0)
        band = min(max(BAND[0], lanes * LANE), BAND[1])
        lane_height = band / lanes
        parts.append(_text(GAP, top + band / 2 + 4, row))
        for lane, span in placed:
            x, width = MARGIN + (span.begin - begin) * scale, (span.end - span.begin) * scale
            parts.append(_bar(x, top + lane * lane_height, width, lane_height, span, most))
        top += band + GAP
    parts.extend(_axis(top, (WIDTH - MARGIN - GAP) / scale))
    height = round(top + 2 * GAP)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'font-family="sans-serif" font-size="12">\n'
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def _bar(x: float, y: float, width: float, height: float, span: Span, most: int) -> str:
    if span.request is None:
        fill = f"hsl(0,0%,{75 - 45 * span.tokens / max(1, most):.0f}%)"
    else:
        fill = f"hsl({span.request * HUE_STEP % 360:.0f},60%,60%)"
    bar = (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 0.5):.1f}" '
        f'height="{height * 0.9:.1f}" fill="{fill}"/>'
    )
    if span.request is None and width > 30:  # wide enough for its number
        bar += _text(x + 2, y + height - 4, str(span.tokens), "white")
    return bar


def _axis(y: float, length_us: float) -> Iterator[str]:
    for tick in range(TICKS + 1):
        x = MARGIN + (WIDTH - MARGIN - GAP) * tick / TICKS
        yield f'<line x1="{x:.1f}" y1="{GAP}" x2="{x:.1f}" y2="{y:.1f}" stroke="#0002"/>'
        anchor = "end" if tick == TICKS else "middle"
        label = f"{length_us * tick / TICKS / 1e3:.0f} ms"
        yield f'<text x="{x:.1f}" y="{y + GAP:.1f}" text-anchor="{anchor}">{label}</text>'


def _text(x: float, y: float, text: str, fill: str = "black") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="{fill}">{escape(text)}</text>'


def main() -> None:
    """Draw the file that the command line names."""
    parser = argparse.ArgumentParser(description="Draw a trace file as an SVG picture.")
    parser.add_argument("trace", type=Path, help="a file that TRACE_FILE wrote")
    parser.add_argument("picture", type=Path, help="the SVG file to write")
    paths = parser.parse_args()
    events = read_trace(paths.trace.read_text(encoding="utf-8"))
    paths.picture.write_text(draw(events), encoding="utf-8")


if __name__ == "__main__":
    main()
