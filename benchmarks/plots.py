"""Draws the results: ``python -m benchmarks.plots`` turns ``results/*.json`` into ``*.svg``.

- ``engine.svg``: tokens a second of each contender, by mix;
- ``throughput.svg``: of the server, by number of clients, beside the raw engine;
- ``latency.svg``: percentiles against offered load;
- ``peers.svg``: tokens a second of the server and its peers;
- ``overload.svg``: goodput and p99 of the server and its peers, against offered load.

What has not been measured is not drawn. The same results give the same files.
"""

import argparse
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, TypeAlias

import matplotlib as mpl

from benchmarks.engine.figures import ARRIVAL, BUCKETED, HALF, PACKED, SORTED, SORTED_INSIDE
from benchmarks.harness import results
from benchmarks.serve import ENGINE, ITEMS

PANEL: Final = (3.4, 2.4)  # inches
COLOURS: Final = {1: "#1f6fb4", 32: "#d1731f"}  # by texts a call
LINES: Final = ("#1f6fb4", "#d1731f", "#6b9a3f")
BARS: Final = ("#1f6fb4", "#7fb2dd", "#d1731f", "#a3a3a3", "#6b9a3f", "#c9c9c9")
STYLE: Final = {
    "svg.fonttype": "none",  # text stays text: small files
    "svg.hashsalt": "penstock",
    "font.size": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
}
Panels: TypeAlias = Sequence[Any]


def engine(figures: Mapping[str, Any]) -> Any:
    """Bars of tokens a second, a panel a mix."""
    figure, panels = _panels(figures["mixes"])
    for panel, mix in zip(panels, figures["mixes"].values(), strict=True):
        rates = mix["median_tokens_per_s"]
        names = (HALF, PACKED, BUCKETED, SORTED_INSIDE, SORTED, ARRIVAL)
        _bars(panel, {name: rates[name] for name in names if name in rates})
    return figure


def throughput(figures: Mapping[str, Any]) -> Any:
    """Tokens a second by clients, a panel a mix, a line for each number of texts a call."""
    figure, panels = _panels(figures["closed"])
    for panel, mix in zip(panels, figures["closed"].values(), strict=True):
        medians = mix["median_tokens_per_s"]
        panel.axhline(medians[ENGINE], color="#6b6b6b", linestyle="--", label="engine alone")
        for items in ITEMS:
            clients = _second_parts(medians, items, int)
            rates = [medians[f"{items} x {n}"] for n in clients]
            panel.plot(clients, rates, "o-", color=COLOURS[items], label=f"{items} a call")
        panel.set(xscale="log", xlabel="clients", ylim=(0, None))
        panel.set_xticks(clients, labels=[str(n) for n in clients])
        panel.minorticks_off()
    panels[0].set_ylabel("tokens/s")
    panels[0].legend(loc="lower right")
    return figure


def latency(figures: Mapping[str, Any]) -> Any:
    """Milliseconds by load, a panel a mix: p50 drawn through, p99 dotted."""
    figure, panels = _panels(figures["open"])
    for panel, mix in zip(panels, figures["open"].values(), strict=True):
        for items in ITEMS:
            loads = _second_parts(mix, items, float)
            for percentile, style in (("p50", "o-"), ("p99", "o:")):
                waits = [mix[f"{items} x {load}"]["latency_ms"][percentile] for load in loads]
                label = f"{items} a call, {percentile}"
                panel.plot(loads, waits, style, color=COLOURS[items], label=label)
        panel.set(yscale="log", xlabel="offered load / closed loop's rate")
        panel.set_xticks(loads)
    panels[0].set_ylabel("ms")
    panels[0].legend(fontsize=6)
    return figure


def peers(figures: Mapping[str, Any]) -> Any:
    """Bars of tokens a second, a panel a load."""
    loads = figures["mixes"]
    figure, panels = _panels(loads, columns=2)
    for panel, load in zip(panels, loads.values(), strict=True):
        _bars(panel, load["median_tokens_per_s"])
    return figure


def overload(figures: Mapping[str, Any]) -> Any:
    """Goodput by capacity and p99 against offered load, with a deadline and without."""
    titles = (
        "goodput, with a deadline",
        "p99, with a deadline",
        "goodput, without",
        "p99, without",
    )
    figure, panels = _panels(dict.fromkeys(titles), columns=2)
    for pair, deadline in ((panels[:2], True), (panels[2:], False)):
        for row, (name, found) in enumerate(figures["contenders"].items()):
            colour = LINES[row]
            cells = [cell for cell in found["cells"].values() if cell["deadline"] is deadline]
            loads = [cell["load"] for cell in cells]
            goodput = [cell["goodput_per_s"] / found["capacity_per_s"] for cell in cells]
            pair[0].plot(loads, goodput, "o-", color=colour, label=name)
            p99 = [cell["admitted_ms"]["p99"] or math.nan for cell in cells]
            pair[1].plot(loads, p99, "o-", color=colour, label=name)
            late = [load for load, ms in zip(loads, p99, strict=True) if math.isnan(ms)]
            above = [1.0 - 0.07 * row] * len(late)
            pair[1].plot(late, above, "^", color=colour, transform=pair[1].get_xaxis_transform())
        for panel in pair:
            panel.set(xscale="log", xlabel="offered load / closed loop's rate")
            panel.set_xticks(loads, labels=[f"{load:g}" for load in loads])
            panel.minorticks_off()
        pair[0].set(ylabel="of the closed loop's rate", ylim=(0, None))
        pair[1].set(ylabel="ms (triangle: above)", yscale="log")
    panels[0].legend(fontsize=6)
    return figure


PICTURES: Final[Mapping[str, tuple[str, Callable[[Mapping[str, Any]], Any]]]] = MappingProxyType(
    {
        "engine": ("engine", engine),
        "throughput": ("serve", throughput),
        "latency": ("serve", latency),
        "peers": ("peers", peers),
        "overload": ("overload", overload),
    }
)


def draw_all(folder: Path) -> Iterator[Path]:
    """Draw what the results in ``folder`` allow, into the same folder."""
    mpl.use("svg")
    with mpl.rc_context(dict(STYLE)):  # type: ignore[arg-type]
        for name, (source, picture) in PICTURES.items():
            path = folder / f"{source}.json"
            if not path.exists():
                continue
            report = results.read(path)
            figure = picture(report["figures"])
            machine, date = report["machine"], report["date"][:10]
            figure.text(
                0.995, 0.005, f"{machine['processor']}, {machine['cores']} cores, {date}",
                ha="right", va="bottom", fontsize=6, color="#6b6b6b",
            )  # fmt: skip
            drawn = folder / f"{name}.svg"
            figure.savefig(drawn, metadata={"Date": None})
            yield drawn


def _panels(titles: Mapping[str, Any], columns: int | None = None) -> tuple[Any, Panels]:
    """A figure with a panel for each title."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - after the backend is chosen

    columns = columns or len(titles)
    rows = -(-len(titles) // columns)
    figure = Figure(figsize=(PANEL[0] * columns, PANEL[1] * rows), layout="constrained")
    panels = list(figure.subplots(rows, columns, squeeze=False).flat)
    for panel, title in zip(panels, titles, strict=False):
        panel.set_title(title)
    for spare in panels[len(titles) :]:
        spare.set_axis_off()
    return figure, panels[: len(titles)]


def _bars(panel: Any, rates: Mapping[str, float]) -> None:
    """Horizontal bars, the first on top, each with its figure."""
    names = list(rates)[::-1]
    colours = BARS[: len(names)][::-1]
    drawn = panel.barh(names, [rates[name] for name in names], color=colours)
    panel.bar_label(drawn, fmt="{:,.0f}", padding=2)
    panel.set(xlabel="tokens/s")
    panel.margins(x=0.2)
    if not panel.get_subplotspec().is_first_col():
        panel.set_yticklabels([])


def _second_parts(names: Mapping[str, Any], items: int, number: Callable[[str], Any]) -> list[Any]:
    """The numbers after ``items x``, in order."""
    start = f"{items} x "
    return [number(name.removeprefix(start)) for name in names if name.startswith(start)]


def main() -> None:
    """Draw and say what."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=results.FOLDER)
    for path in draw_all(parser.parse_args().folder):
        print("drawn:", path.name)


if __name__ == "__main__":
    main()
