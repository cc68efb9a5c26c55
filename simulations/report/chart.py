"""Charts over time as SVG, without any library: lines, or stacked areas."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, TypeAlias
from xml.sax.saxutils import escape

from attrs import frozen

WIDTH: Final = 720  # pixels, as all below
HEIGHT: Final = 240
LEFT: Final = 64
RIGHT: Final = 150  # for the names
TOP: Final = 28
BOTTOM: Final = 26
TICKS: Final = 4
COLOURS: Final = (
    "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442", "#666666",
)  # fmt: skip


Points: TypeAlias = list[tuple[float, float]]  # seconds and values


@frozen
class Chart:
    """Some series over time. ``x_s`` are seconds, one for each value of each series.

    A line has a gap where a value is None; in an area it counts as nothing.
    """

    title: str
    x_s: Sequence[float]
    series: Mapping[str, Sequence[float | None]]
    stacked: bool = False

    def as_svg(self) -> str:
        """The picture."""
        shapes = list(self._areas() if self.stacked else self._lines())
        top = nice(
            max((y for _, pieces in shapes for piece in pieces for _, y in piece), default=0)
        )
        title = escape(self.title)
        parts = [
            f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" role="img" aria-label="{title}">',
            f'<text x="{LEFT}" y="16" class="title">{title}</text>',
            *self._grid(top),
        ]
        for number, (name, pieces) in enumerate(shapes):
            colour = COLOURS[number % len(COLOURS)]
            parts += [self._draw(piece, top, colour) for piece in pieces]
            if name:
                parts.append(_legend(number, name, colour))
        return "\n".join([*parts, "</svg>"])

    def _lines(self) -> Iterator[tuple[str, list[Points]]]:
        """Each series in the pieces between its gaps."""
        for name, values in self.series.items():
            yield name, list(_pieces(self.x_s, values))

    def _areas(self) -> Iterator[tuple[str, list[Points]]]:
        """Each series as an area on top of those before it."""
        floor: Points = [(x_s, 0.0) for x_s in self.x_s]
        for name, values in self.series.items():
            pairs = zip(floor, values, strict=True)
            surface = [(x_s, low + (value or 0.0)) for (x_s, low), value in pairs]
            yield name, [[*surface, *reversed(floor)]]
            floor = surface

    def _draw(self, piece: Points, top: float, colour: str) -> str:
        points = " ".join(f"{self._x(x_s):.1f},{_y(value, top):.1f}" for x_s, value in piece)
        if self.stacked:
            return f'<polygon points="{points}" fill="{colour}" fill-opacity="0.8"/>'
        return (
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5" '
            'stroke-linecap="round"/>'
        )

    def _x(self, x_s: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * x_s / (max(self.x_s, default=0.0) or 1.0)

    def _grid(self, top: float) -> list[str]:
        lines = []
        for tick in range(TICKS + 1):
            value, x_s = top * tick / TICKS, max(self.x_s, default=0.0) * tick / TICKS
            y, x = _y(value, top), self._x(x_s)
            lines += [
                f'<line x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}" class="grid"/>',
                f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{short(value)}</text>',
                f'<text x="{x:.1f}" y="{HEIGHT - 8}" text-anchor="middle">{x_s:.4g} s</text>',
            ]
        return lines


def _pieces(x_s: Sequence[float], values: Sequence[float | None]) -> Iterator[Points]:
    """A line without its gaps; a value between two of them is a dot."""
    piece: Points = []
    for x, value in zip((*x_s, 0.0), (*values, None), strict=True):
        if value is not None:
            piece.append((x, value))
        elif piece:
            yield piece if len(piece) > 1 else piece * 2
            piece = []


def _legend(number: int, name: str, colour: str) -> str:
    x, y = WIDTH - RIGHT + 10, TOP + 14 * number + 10
    return (
        f'<rect x="{x}" y="{y - 8}" width="9" height="9" fill="{colour}"/>'
        f'<text x="{x + 14}" y="{y}">{escape(name)}</text>'
    )


def _y(value: float, top: float) -> float:
    return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value / top


def nice(value: float) -> float:
    """The least of 1, 2, 4, 5, 8, 10, 20 ... that is not below ``value``; 1 for 0."""
    if value <= 0.0:
        return 1.0
    power = 10.0 ** (len(str(int(value))) - 1) if value >= 1.0 else 1.0
    while power > value:
        power /= 10.0
    return next(power * step for step in (1, 2, 4, 5, 8, 10) if power * step >= value)


def short(value: float) -> str:
    """A number as an axis shows it: 1500 is 1.5k."""
    for unit, name in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= unit:
            return f"{value / unit:.4g}{name}"
    return f"{value:.4g}"
