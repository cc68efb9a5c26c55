"""The picture of a trace."""

import json
import subprocess
import sys
from xml.etree import ElementTree as ET

from hypothesis import given
from hypothesis import strategies as st
from journeys import Journey

from pipeline.observability.trace_picture import Span, draw, lanes_of, read_trace, spans_of
from pipeline.observability.tracing import ROWS, TAIL, Tracer

SVG = "{http://www.w3.org/2000/svg}"


def trace():
    tracer = Tracer(0.0)
    journey = Journey(tracer)
    journey.whole(2, begin=1.0, step=1.0)
    journey.whole(1, begin=2.0, step=1.0)
    return tracer.take() + TAIL


def test_every_row_is_named_and_every_span_is_a_bar():
    picture = ET.fromstring(draw(read_trace(trace())))  # noqa: S314 (our own)
    words = [text.text for text in picture.iter(f"{SVG}text")]
    assert [row for row in words if row in ROWS] == list(ROWS)
    assert {"10", "20", "0 ms", "7000 ms"} <= set(words)  # two batches, and the axis
    bars = list(picture.iter(f"{SVG}rect"))[1:]
    assert len(bars) == 2 * 7 + 2
    assert all(0 <= float(bar.get("x")) + float(bar.get("width")) <= 1200 for bar in bars)


def test_a_trace_without_an_end_is_drawn_as_far_as_it_goes():
    text = trace()
    drawn = len(list(spans_of(json.loads(text))))
    for end in (len(text) - len(TAIL), text.rindex('"ph":"e"'), text.rindex("}}") + 1):
        assert len(list(spans_of(read_trace(text[:end])))) == drawn - 1


def test_an_empty_trace_is_a_picture_too():
    ET.fromstring(draw(read_trace(Tracer(0.0).take() + TAIL)))  # noqa: S314 (our own)


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 20)), max_size=30))
def test_spans_in_one_lane_do_not_overlap_and_no_lane_is_wasted(times):
    placed = lanes_of(Span("row", begin, begin + long, 1, 0) for begin, long in times)
    assert len(placed) == len(times)
    for number, (lane, span) in enumerate(placed):
        before = [s for other, s in placed[:number] if other == lane]
        assert all(s.end <= span.begin for s in before)
        meanwhile = {other for other, s in placed[:number] if s.end > span.begin}
        assert lane == min(set(range(len(times) + 1)) - meanwhile)


def test_the_command_writes_a_picture(tmp_path):
    (tmp_path / "trace.json").write_text(trace())
    command = [
        sys.executable,
        "-m",
        "pipeline.observability.trace_picture",
        "trace.json",
        "picture.svg",
    ]
    subprocess.run(command, cwd=tmp_path, check=True)
    assert (tmp_path / "picture.svg").read_text() == draw(read_trace(trace()))
