"""What a simulation showed, as figures and a text table. Times are to the microsecond."""

from collections.abc import Iterable, Iterator

from simulations.report.report import Report
from simulations.report.statistics import SLOTS, Totals, Work


def as_table(report: Report) -> str:
    """The report for a terminal."""
    return "\n".join(_lines(report))


def verdict(report: Report) -> str:
    """One line: whether every check held."""
    total = report.violations.total
    return f"{total} violations" if total else "every check held"


def facts(report: Report) -> list[tuple[str, str]]:
    """The figures of the servers as a whole: name and value."""
    work, scenario = report.statistics.work, report.scenario
    devices = len(scenario.server.device) * scenario.fleet.replicas
    answered = list(report.statistics.totals.values())
    busy_s = sum(slot.busy_s for slot in report.statistics.slots[:SLOTS])
    duration_s = scenario.duration_s
    return [
        ("servers", f"{scenario.fleet.replicas} x {len(scenario.server.device)} devices"),
        ("calls arrive for", seconds(duration_s)),
        ("all ended at", seconds(report.ended_at_s)),
        ("answered items/s", f"{sum(t.answered_items for t in answered) / duration_s:.1f}"),
        ("answered tokens/s", f"{sum(t.answered_tokens for t in answered) / duration_s:.1f}"),
        ("device use", share(busy_s, duration_s * devices)),
        ("padding", share(work.padding, work.tokens + work.padding)),
        ("device tokens for ended calls", share(work.wasted, work.tokens)),
        ("batches", f"{work.batches}, of which failed {work.failed_batches}"),
        ("items a batch", f"{_items_a_batch(work):.1f}"),
        ("stage restarts", str(report.restarts)),
        ("refused attempts", _refused_attempts(report)),
    ]


def _items_a_batch(work: Work) -> float:
    run = work.batches - work.failed_batches
    return work.items / run if run else 0.0


def _refused_attempts(report: Report) -> str:
    reasons = sorted(report.statistics.reasons.items())
    return ", ".join(f"{reason} {number}" for reason, number in reasons) or "none"


HEAD = (
    "clients", "calls", "answered", "refused", "expired", "failed", "hung up",
    "tokens/s", "p50 ms", "p90 ms", "p99 ms", "refusal p99 ms",
)  # fmt: skip


def rows(report: Report) -> list[list[str]]:
    """A row for each kind of clients, and one for all where there are several."""
    totals = report.statistics.totals
    named = [_row(name, each, report.scenario.duration_s) for name, each in totals.items()]
    if len(named) > 1:
        named.append(_row("all", together(totals.values()), report.scenario.duration_s))
    return named


def together(parts: Iterable[Totals]) -> Totals:
    """The sum of several."""
    whole = Totals()
    for part in parts:
        whole.add(part)
    return whole


def _row(name: str, totals: Totals, duration_s: float) -> list[str]:
    return [
        name,
        str(totals.calls),
        share(totals.answered, totals.calls),
        share(totals.refused, totals.calls),
        share(totals.expired, totals.calls),
        share(totals.failed, totals.calls),
        share(totals.hung_up, totals.calls),
        f"{totals.answered_tokens / duration_s:.1f}",
        *(milliseconds(totals.latencies.percentile_s(percent)) for percent in (50, 90, 99)),
        milliseconds(totals.refusals.percentile_s(99)),
    ]


def _lines(report: Report) -> Iterator[str]:
    table = [list(HEAD), *rows(report)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        first, *rest = (cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        yield "  ".join([row[0].ljust(widths[0]), *rest]) if first else ""
    yield ""
    names = max(len(name) for name, _ in facts(report))
    for name, value in facts(report):
        yield f"{name.ljust(names)}  {value}"
    yield ""
    yield verdict(report)
    yield from (f"- {sentence}" for sentence in report.violations.sentences)


def share(part: float, whole: float) -> str:
    """A share in percent; "-" of nothing."""
    return f"{100.0 * part / whole:.2f}%" if whole else "-"


def seconds(value: float) -> str:
    """Seconds, rounded to the microsecond."""
    return f"{value:.6f}".rstrip("0").rstrip(".") + " s"


def milliseconds(value_s: float | None) -> str:
    """Milliseconds, rounded to the microsecond; "-" of nothing."""
    return "-" if value_s is None else f"{value_s * 1e3:.3f}"
