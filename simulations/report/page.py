"""The report as one self-contained HTML page: a table, the checks, and charts."""

from collections.abc import Iterator
from html import escape
from typing import Final

from simulations.report.chart import Chart
from simulations.report.report import Report
from simulations.report.statistics import Slot
from simulations.report.table import HEAD, facts, rows, verdict

STYLE: Final = """
body { font: 14px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 62rem; color: #222;
  padding: 0 1rem; overflow-wrap: anywhere; }
.wide { overflow-x: auto; overflow-wrap: normal; }
table { border-collapse: collapse; margin: 1rem 0; }
td, th { padding: 0.15rem 0.6rem; text-align: right; border-bottom: 1px solid #ddd; }
td:first-child, th:first-child { text-align: left; }
svg { display: block; margin: 1.2rem 0; font-size: 11px; fill: #444; }
svg .title { font-size: 13px; font-weight: 600; }
svg .grid { stroke: #e4e4e4; }
code { background: #f4f4f4; padding: 0.1rem 0.3rem; }
.bad { color: #b00020; }
"""


def as_page(report: Report, replay: str) -> str:
    """The page; ``replay`` is the command that makes the same one again."""
    return "\n".join(_parts(report, replay)) + "\n"


def _parts(report: Report, replay: str) -> Iterator[str]:
    yield '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f"<title>Simulation, seed {report.seed}</title>\n<style>{STYLE}</style>\n</head>\n<body>"
    yield f"<h1>Simulation, seed {report.seed}</h1>\n<p><code>{escape(replay)}</code></p>"
    yield f'<p class="{"bad" if report.violations.total else "good"}">{verdict(report)}</p>'
    if report.violations.total:
        items = "".join(f"<li>{escape(each)}</li>" for each in report.violations.sentences)
        yield f'<ul class="bad">{items}</ul>'
    yield _table([list(HEAD), *rows(report)], head=True)
    yield _table([list(fact) for fact in facts(report)])
    yield from (_wide(chart.as_svg()) for chart in charts(report))
    yield "</body>\n</html>"


def _table(lines: list[list[str]], *, head: bool = False) -> str:
    cells = []
    for number, line in enumerate(lines):
        tag = "th" if head and number == 0 else "td"
        cells.append("".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in line))
    return _wide("<table>\n" + "\n".join(f"<tr>{line}</tr>" for line in cells) + "\n</table>")


def _wide(element: str) -> str:
    """Let an element that may be wider than a phone scroll by itself."""
    return f'<div class="wide" tabindex="0">\n{element}\n</div>'


def charts(report: Report) -> Iterator[Chart]:
    """The pictures: what went through, how long it took, what waited, was refused, was run."""
    slots, slot_s = report.statistics.slots, report.statistics.slot_s
    x_s = [number * slot_s for number in range(len(slots))]
    devices = len(report.scenario.server.device) * report.scenario.fleet.replicas
    yield Chart(
        "Calls a second",
        x_s,
        {
            "arrived": [slot.arrived / slot_s for slot in slots],
            "answered": [slot.answered / slot_s for slot in slots],
        },
    )
    yield Chart("Answered tokens a second", x_s, {"": [slot.tokens / slot_s for slot in slots]})
    yield Chart(
        "Latency of answers, ms",
        x_s,
        {f"p{percent}": [_latency_ms(slot, percent) for slot in slots] for percent in (50, 90, 99)},
    )
    buckets = sorted({bucket for slot in slots for bucket in slot.queued})
    yield Chart(
        "Tokens queued, by bucket",
        x_s,
        {str(bucket): [float(slot.queued.get(bucket, 0)) for slot in slots] for bucket in buckets},
        stacked=True,
    )
    reasons = sorted({reason for slot in slots for reason in slot.refused})
    yield Chart(
        "Refusals a second, by reason",
        x_s,
        {reason: [slot.refused[reason] / slot_s for slot in slots] for reason in reasons},
        stacked=True,
    )
    yield Chart("Padding, % of computed tokens", x_s, {"": [_padding(slot) for slot in slots]})
    use = [100.0 * slot.busy_s / (slot_s * devices) for slot in slots]
    yield Chart("Device use, %", x_s, {"": use})


def _latency_ms(slot: Slot, percent: float) -> float | None:
    latency_s = slot.latencies.percentile_s(percent)
    return None if latency_s is None else latency_s * 1e3


def _padding(slot: Slot) -> float | None:
    return 100.0 * slot.padding / slot.computed if slot.computed else None
