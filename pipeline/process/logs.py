"""Log lines: one line per event, for people (console) or for machines (JSON).

Modules log with ``structlog.get_logger()``: an event in words, facts as fields,
``request_id`` where there is one, and never any input text. What libraries log
through :mod:`logging` comes out the same way, from WARNING on.
"""

import logging
import sys
import traceback
from collections.abc import Iterator
from typing import Any, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

MESSAGE_CHARACTERS = 300  # of an exception's message
FRAMES = 6  # of its traceback, innermost last
LIBRARIES = ("transformers", "huggingface_hub", "hypercorn.error", "hypercorn.access", "grpclib")


def set_up_logs(log_format: str, log_level: str, stream: TextIO | None = None) -> None:
    """Send every log line to ``stream`` (stderr) in ``log_format`` from ``log_level`` on."""
    stream = stream or sys.stderr
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _flatten_exception,
        _one_line,
    ]
    renderer: Processor
    if log_format == "json":
        renderer = structlog.processors.JSONRenderer()
    else:
        renderer = structlog.dev.ConsoleRenderer(colors=stream.isatty(), pad_event_to=0)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.ExtraAdder(), *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    logging.root.handlers[:] = [handler]
    logging.root.setLevel(logging.WARNING)
    for own in ("penstock", "pipeline", "stages"):
        logging.getLogger(own).setLevel(log_level.upper())
    logging.captureWarnings(True)
    route_library_logs()


def route_library_logs() -> None:
    """Remove the handlers that libraries installed when they were imported.

    To be called again after a heavy import; harmless when there is nothing to do.
    """
    for name in LIBRARIES:
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
        if logger.level < logging.WARNING:
            logger.setLevel(logging.WARNING)


def _flatten_exception(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """An exception as two fields: its message, and the innermost places of its traceback."""
    info = event.pop("exc_info", None)
    error = info if isinstance(info, BaseException) else None
    if info is True:
        error = sys.exc_info()[1]
    elif isinstance(info, tuple):
        error = info[1]
    if error is not None:
        leaves = list(_leaves(error))
        event["error"] = _short("; ".join(f"{type(leaf).__name__}: {leaf}" for leaf in leaves))
        event["at"] = _places(leaves[0]) or _places(error)
    return event


def _leaves(error: BaseException) -> Iterator[BaseException]:
    """The exceptions that nurseries wrapped in groups."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


def _places(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)[-FRAMES:]
    return " < ".join(f"{frame.filename}:{frame.lineno}" for frame in reversed(frames))


def _one_line(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    for key, value in event.items():
        if isinstance(value, str) and not value.isprintable():
            event[key] = _printable(value)
    return event


def _printable(value: Any) -> str:
    words = " ".join(str(value).split())
    return "".join(character if character.isprintable() else "?" for character in words)


def _short(text: str) -> str:
    text = _printable(text)
    return text if len(text) <= MESSAGE_CHARACTERS else text[:MESSAGE_CHARACTERS] + "..."
