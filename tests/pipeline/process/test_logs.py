"""Log lines: one an event, whoever logs it."""

import io
import json
import logging

import pytest
import structlog

from pipeline.process.logs import route_library_logs, set_up_logs


@pytest.fixture
def lines():
    """Set logging up in a format and level; the lines written since."""
    root, handlers, level = logging.root, logging.root.handlers[:], logging.root.level
    stream = io.StringIO()

    def start(log_format="json", log_level="info"):
        set_up_logs(log_format, log_level, stream)
        return lambda: stream.getvalue().splitlines()

    yield start
    root.handlers[:] = handlers
    root.setLevel(level)
    for name in ("pipeline", "stages", "penstock"):
        logging.getLogger(name).setLevel(logging.NOTSET)
    logging.captureWarnings(False)
    structlog.reset_defaults()


def log():
    return structlog.get_logger("stages.example")


def failing():
    with pytest.raises(ExceptionGroup) as caught:
        raise ExceptionGroup("nursery", [ValueError("first\nsecond " + "x" * 1000)])
    return caught.value


def test_json_lines_hold_event_level_time_and_fields(lines):
    written = lines()
    log().info("batch done", request_id="r-1", items=3)
    (line,) = written()
    fields = json.loads(line)
    assert fields.pop("timestamp").endswith("Z")
    assert fields == {"event": "batch done", "level": "info", "request_id": "r-1", "items": 3}


def test_console_lines_are_for_people_and_without_colours_in_a_file(lines):
    written = lines("console")
    log().warning("batch done", request_id="r-1")
    (line,) = written()
    assert "batch done" in line
    assert "request_id=r-1" in line
    assert "\x1b" not in line


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_an_exception_stays_on_one_line(lines, log_format):
    written = lines(log_format)
    log().error("stage crashed", exc_info=failing())
    (line,) = written()
    assert "ValueError: first second xxx" in line
    assert "test_logs.py:" in line
    assert len(line) < 1000


def test_the_level_holds_for_our_own_lines(lines):
    written = lines(log_level="warning")
    log().info("quiet")
    log().warning("loud")
    assert [json.loads(line)["event"] for line in written()] == ["loud"]


def test_libraries_come_out_the_same_way_from_warning_on(lines):
    written = lines(log_level="debug")
    library = logging.getLogger("hypercorn.error")
    library.addHandler(logging.StreamHandler(io.StringIO()))  # as libraries do when imported
    library.propagate = False
    library.setLevel(logging.INFO)
    route_library_logs()
    library.info("chatter")
    library.warning("two\nlines")
    (line,) = written()
    assert json.loads(line)["event"] == "two lines"
    assert json.loads(line)["level"] == "warning"
