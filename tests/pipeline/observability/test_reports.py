"""Who watches, by what the settings ask for."""

import sys

import pytest
import structlog.testing
import trio
from trio.testing import wait_all_tasks_blocked

from pipeline.observability.reports import Reports
from pipeline.settings.table import Settings

COLLECTOR = "http://127.0.0.1:9"


async def kinds(**settings):
    return [type(watcher).__name__ for watcher in Reports(Settings(**settings)).watchers]


async def test_metrics_alone_watch_unless_more_is_asked_for(tmp_path):
    assert await kinds() == ["Metrics"]
    assert await kinds(trace_file=str(tmp_path / "trace.json")) == ["Metrics", "Tracer"]
    assert await kinds(otel_exporter_otlp_endpoint=COLLECTOR) == ["Metrics", "SpanNotes"]


async def test_without_the_extra_no_traces_are_noted_and_one_line_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "pipeline.observability.otlp", None)
    with structlog.testing.capture_logs() as logs:
        assert await kinds(otel_exporter_otlp_endpoint=COLLECTOR) == ["Metrics"]
    assert [line["event"] for line in logs] == ["no traces are sent: pip install 'penstock[otel]'"]


async def test_without_a_collector_opentelemetry_is_not_even_imported(monkeypatch):
    monkeypatch.setitem(sys.modules, "pipeline.observability.otlp", None)
    with structlog.testing.capture_logs() as logs:
        assert await kinds() == ["Metrics"]
    assert logs == []


async def test_a_trace_file_that_cannot_be_opened_stops_the_start(tmp_path):
    settings = Settings(trace_file=str(tmp_path / "missing" / "trace.json"), metrics_enabled=False)
    with pytest.RaisesGroup(OSError):
        async with trio.open_nursery() as nursery:
            await Reports(settings).start(nursery)


async def test_what_is_asked_for_is_brought_out(tmp_path):
    file = tmp_path / "trace.json"
    settings = Settings(
        trace_file=str(file), otel_exporter_otlp_endpoint=COLLECTOR, metrics_enabled=False
    )
    with structlog.testing.capture_logs() as logs:
        async with trio.open_nursery() as nursery:
            await Reports(settings).start(nursery)
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
    assert file.read_text().startswith("[")
    assert "traces are sent" in [line["event"] for line in logs]
