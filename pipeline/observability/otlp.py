"""Sends traced requests to an OpenTelemetry collector, over OTLP on gRPC.

A request is a span of kind SERVER under its caller's, with a span for each stay of a
part of it in a stage, and what a device did under the stay in execution. No text is in
any of them.

Making spans takes time (``benchmarks.trace_cost``), and a collector may be slow or gone:
so spans are made and sent in a thread of their own, a second's worth at a time. What does
not get through is dropped; requests never wait for it. The exporter also heeds its own
standard environment variables, such as those for headers and certificates.
"""

import logging
import time
from collections.abc import Iterator, Sequence
from functools import partial
from importlib import metadata
from typing import Final

import structlog
import trio
from attrs import define, field
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import (
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    Tracer,
    set_span_in_context,
)

from pipeline.observability.span_notes import Run, SpanNotes, Stay, TracedRequest
from pipeline.observability.trace_context import TraceContext

INTERVAL_S: Final = 1.0
TIMEOUT_S: Final = 5.0  # of one call to the collector, retries included
LAST_CALL_S: Final = 1.0  # how long the shutdown waits for what is still to be sent
SPANS_PER_CALL: Final = 1000  # 0.3 MB; collectors take 4 MiB unless told otherwise
SERVER_ERRORS: Final = frozenset({"INTERNAL", "UNAVAILABLE", "DEADLINE_EXCEEDED"})

log = structlog.get_logger()


async def export_spans(
    notes: SpanNotes, endpoint: str, service_name: str, *, interval_s: float = INTERVAL_S
) -> None:
    """Send what is in ``notes`` every ``interval_s`` seconds until cancelled, and then the rest.

    ``endpoint`` is ``http://host:port``, or ``https://...`` for TLS.
    """
    logging.getLogger("opentelemetry.exporter").setLevel(logging.CRITICAL)  # Sender logs instead
    exporter = OTLPSpanExporter(endpoint=endpoint, timeout=TIMEOUT_S)
    sender = Sender(SpanMaker.named(service_name), exporter)
    in_thread = partial(
        trio.to_thread.run_sync, abandon_on_cancel=True, limiter=trio.CapacityLimiter(1)
    )
    log.info("traces are sent", endpoint=endpoint, service_name=service_name)
    try:
        while True:
            await trio.sleep(interval_s)
            await in_thread(sender.send, notes.take(), _epoch_s())
    finally:
        with trio.move_on_after(LAST_CALL_S, shield=True):
            await in_thread(sender.send, notes.take(), _epoch_s())
        exporter.shutdown()
        if notes.dropped:
            log.warning("traces have gaps", dropped_requests=notes.dropped)


@define(eq=False)
class Sender:
    """Makes spans and sends them; logs when that begins to fail, and when it works again."""

    maker: "SpanMaker"
    exporter: SpanExporter
    _failing: bool = False

    def send(self, requests: Sequence[TracedRequest], epoch_s: float) -> None:
        """Send ``requests``; ``epoch_s`` is Trio's zero in seconds since 1970. Any thread."""
        for spans in self._calls(requests, epoch_s):
            taken = self.exporter.export(spans) is SpanExportResult.SUCCESS
            if self._failing == taken:
                self._failing = not taken
                if taken:
                    log.info("the collector takes spans again")
                else:
                    log.warning("the collector takes no spans")
            if not taken:
                return  # the rest would fail as slowly

    def _calls(
        self, requests: Sequence[TracedRequest], epoch_s: float
    ) -> Iterator[list[ReadableSpan]]:
        spans: list[ReadableSpan] = []
        for request in requests:
            spans += self.maker.spans_of(request, epoch_s)
            if len(spans) >= SPANS_PER_CALL:
                yield spans
                spans = []
        if spans:
            yield spans


class _Finished(SpanProcessor):
    """Keeps the spans that have ended."""

    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []

    def on_end(self, span: ReadableSpan) -> None:
        self.spans.append(span)

    def take(self) -> list[ReadableSpan]:
        taken, self.spans = self.spans, []
        return taken


@define(eq=False)
class SpanMaker:
    """Spans of ended requests. Belongs to one thread at a time."""

    _provider: TracerProvider
    _finished: _Finished = field(init=False, factory=_Finished)
    _tracer: Tracer = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._provider.add_span_processor(self._finished)
        self._tracer = self._provider.get_tracer("penstock", metadata.version("penstock"))

    @classmethod
    def named(cls, service_name: str) -> "SpanMaker":
        """A maker for spans of a service of this name; sampling has been decided before."""
        resource = Resource.create({"service.name": service_name})
        provider = TracerProvider(ALWAYS_ON, resource, shutdown_on_exit=False)
        return cls(provider)

    def spans_of(self, request: TracedRequest, epoch_s: float) -> list[ReadableSpan]:
        """The spans of ``request``, its own last."""
        whole = self._tracer.start_span(
            "embed",
            _below_caller(request.notes.parent),
            SpanKind.SERVER,
            {
                "penstock.request_id": request.request_id,
                "penstock.requests": request.requests,
                "penstock.items": request.items,
                "penstock.tokens": request.tokens,
                "penstock.outcome": request.outcome,
            },
            start_time=_ns(request.begin, epoch_s),
        )
        for stay in request.notes.stays:
            self._stay(whole, stay, epoch_s)
        if request.outcome in SERVER_ERRORS:  # others are the caller's own
            whole.set_status(Status(StatusCode.ERROR, request.outcome))
        whole.end(_ns(request.end, epoch_s))
        return self._finished.take()

    def _stay(self, whole: Span, stay: Stay, epoch_s: float) -> None:
        span = self._tracer.start_span(
            stay.stage,
            set_span_in_context(whole),
            attributes={"penstock.items": stay.items},
            start_time=_ns(stay.begin, epoch_s),
        )
        if stay.run is not None:
            self._run(span, stay.run, epoch_s)
        span.end(_ns(stay.end, epoch_s))

    def _run(self, stay: Span, run: Run, epoch_s: float) -> None:
        span = self._tracer.start_span(
            "device",
            set_span_in_context(stay),
            attributes={
                "penstock.device": run.device,
                "penstock.batch.number": run.number,
                "penstock.batch.layout": run.layout,
                "penstock.batch.items": run.items,
                "penstock.batch.tokens": run.tokens,
                "penstock.batch.padding": run.padding,
            },
            start_time=_ns(run.begin, epoch_s),
        )
        span.end(_ns(run.end, epoch_s))


def _below_caller(parent: TraceContext | None) -> Context:
    if parent is None:
        return Context()
    flags = TraceFlags(TraceFlags.SAMPLED)
    remote = SpanContext(parent.trace_id, parent.span_id, is_remote=True, trace_flags=flags)
    return set_span_in_context(NonRecordingSpan(remote), Context())


def _epoch_s() -> float:
    return time.time() - trio.current_time()


def _ns(moment: float, epoch_s: float) -> int:
    return round((moment + epoch_s) * 1e9)
