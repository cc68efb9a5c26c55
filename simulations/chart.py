"""Charts over time as SVG, without any library: lines, or areas that lie on each other."""

from collections.abc import Mapping, Sequence
from typing import Final
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


@frozen
class Chart:
    """Some series over time. ``x_s`` are seconds, one for each value of each series."""

    title: str
    x_s: Sequence[float]
    series: Mapping[str, Sequence[float]]
    stacked: bool = False

    def as_svg(self) -> str:
        """The picture."""
        layers = self._layers()
        top = nice(max((max(layer, default=0.0) for _, layer in layers), default=0.0))
        title = escape(self.title)
        parts = [
            f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" role="img" aria-label="{title}">',
            f'<text x="{LEFT}" y="16" class="title">{title}</text>',
            *self._grid(top),
        ]
        below = [0.0] * len(self.x_s)
        for number, (name, layer) in enumerate(layers):
            colour = COLOURS[number % len(COLOURS)]
            parts.append(self._draw(layer, below, top, colour))
            if name:
                parts.append(_legend(number, name, colour))
            below = list(layer)
        return "\n".join([*parts, "</svg>"])

    def _layers(self) -> list[tuple[str, Sequence[float]]]:
        """Each series as it is drawn: on top of those before it, where they are stacked."""
        if not self.stacked:
            return list(self.series.items())
        layers: list[tuple[str, Sequence[float]]] = []
        below: Sequence[float] = [0.0] * len(self.x_s)
        for name, values in self.series.items():
            below = [low + value for low, value in zip(below, values, strict=True)]
            layers.append((name, below))
        return layers

    def _draw(self, layer: Sequence[float], below: Sequence[float], top: float, colour: str) -> str:
        line = self._points(self.x_s, layer, top)
        if not self.stacked:
            return f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="1.5"/>'
        back = self._points(self.x_s[::-1], below[::-1], top)
        return f'<polygon points="{line} {back}" fill="{colour}" fill-opacity="0.8"/>'

    def _points(self, x_s: Sequence[float], values: Sequence[float], top: float) -> str:
        return " ".join(
            f"{self._x(x):.1f},{_y(value, top):.1f}" for x, value in zip(x_s, values, strict=True)
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


def _legend(number: int, name: str, colour: str) -> str:
    x, y = WIDTH - RIGHT + 10, TOP + 14 * number + 10
    return (
        f'<rect x="{x}" y="{y - 8}" width="9" height="9" fill="{colour}"/>'
        f'<text x="{x + 14}" y="{y}">{escape(name)}</text>'
    )


def _y(value: float, top: float) -> float:
    return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value / top


def nice(value: float) -> float:
    """The least of 1, 2, 4, 5, 8, 10, 20 ... that is no less; 1 for nothing."""
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
