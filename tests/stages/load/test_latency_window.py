"""The latencies of late."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from stages.load.latency_window import LatencyWindow


@given(
    samples=st.lists(st.tuples(st.floats(0.0, 0.5), st.floats(0.0, 10.0)), max_size=80),
    window_s=st.floats(0.1, 3.0),
)
def test_p95_is_numpys_over_the_samples_in_the_window(samples, window_s):
    window, now, kept = LatencyWindow(window_s), 0.0, []
    for wait_s, latency_s in samples:
        now += wait_s
        window.add(latency_s, now)
        kept.append((now, latency_s))
    inside = [latency_s for at, latency_s in kept if at >= now - window_s]
    expected = np.percentile(inside, 95, method="higher") if inside else None
    assert window.p95_s(now) == expected
    assert window.p95_s(now, min_samples=len(inside) + 1) is None
    assert window.p95_s(now + window_s + 1.0) is None
