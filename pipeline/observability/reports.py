"""Everything that reports the work, as the settings ask for it.

Metrics always; the stage trace, the traces of requests and CloudWatch if they are on. What
is off is not among the watchers, and costs nothing.
"""

from collections.abc import Iterator
from functools import partial

import structlog
import trio
from attrs import field, frozen

from pipeline.observability.cloudwatch import ship_metrics
from pipeline.observability.metrics import Metrics
from pipeline.observability.span_notes import SpanNotes
from pipeline.observability.tracing import Tracer, write_trace
from pipeline.settings.table import Settings
from pipeline.wiring.stage_occupancy import Watcher

log = structlog.get_logger()


@frozen(eq=False)
class Reports:
    """The pipeline's watchers, and the tasks that publish what they note. Made in Trio's thread."""

    settings: Settings
    metrics: Metrics = field(init=False)
    tracer: Tracer | None = field(init=False)
    notes: SpanNotes | None = field(init=False)

    @metrics.default
    def _metrics(self) -> Metrics:
        return Metrics(len(self.settings.device))

    @tracer.default
    def _tracer(self) -> Tracer | None:
        return Tracer(trio.current_time()) if self.settings.trace_file else None

    @notes.default
    def _notes(self) -> SpanNotes | None:
        if not self.settings.otel_exporter_otlp_endpoint:
            return None
        try:
            import pipeline.observability.otlp  # noqa: F401, PLC0415 (an extra)
        except ImportError:
            log.warning("no traces are sent: pip install 'penstock[otel]'")
            return None
        return SpanNotes(self.settings.otel_traces_sampler_arg)

    @property
    def watchers(self) -> tuple[Watcher, ...]:
        """The watchers of the pipeline."""
        return tuple(self._watchers())

    def _watchers(self) -> Iterator[Watcher]:
        yield self.metrics
        if self.tracer is not None:
            yield self.tracer
        if self.notes is not None:
            yield self.notes

    async def start(self, nursery: trio.Nursery) -> None:
        """Start the tasks that publish; they end with ``nursery``.

        Raises:
            OSError: TRACE_FILE cannot be opened.
        """
        settings = self.settings
        if self.tracer is not None:
            await nursery.start(write_trace, self.tracer, settings.trace_file)
        if self.notes is not None:
            from pipeline.observability.otlp import export_spans  # noqa: PLC0415 (an extra)

            nursery.start_soon(
                export_spans,
                self.notes,
                settings.otel_exporter_otlp_endpoint,
                settings.otel_service_name,
            )
        if settings.metrics_enabled:
            nursery.start_soon(
                partial(
                    ship_metrics,
                    self.metrics.registry,
                    namespace=settings.metrics_namespace,
                    region=settings.metrics_region,
                )
            )
