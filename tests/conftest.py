"""Settings for the whole suite: how hard Hypothesis looks, and that CI repeats itself."""

import os
import signal

import pytest
import structlog
from hypothesis import HealthCheck, settings

settings.register_profile(
    "local",
    deadline=None,  # the machine may be busy with something else
    max_examples=50,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("ci", settings.get_profile("local"), derandomize=True)
settings.load_profile("ci" if "CI" in os.environ else "local")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # In a shell's background. The processes that tests interrupt would ignore it too.
    signal.signal(signal.SIGINT, signal.default_int_handler)

CORES = os.sched_getaffinity(0)


@pytest.fixture(autouse=True)
def all_cores():
    """An engine binds the thread that makes it: later tests, and their processes, have all."""
    yield
    os.sched_setaffinity(0, CORES)


@pytest.fixture(autouse=True)
def plain_log():
    """Log without the locals of every frame: crashes are many here, and that is slow."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.dev.ConsoleRenderer(
                colors=False, exception_formatter=structlog.dev.plain_traceback
            ),
        ]
    )
