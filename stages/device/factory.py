"""Makes the device that a spec describes. Imports no torch before it is asked to."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module

from stages.device.spec import Device, EngineSpec


def import_device(spec: EngineSpec) -> None:
    """Import what :func:`make_device` will need; takes seconds with torch among it."""
    module = "stages.device.null_engine" if spec.device == "null" else "stages.device.engine"
    with _hidden("scipy"):  # 40 MB, imported by transformers for the losses of vision models
        import_module(module)


def make_device(spec: EngineSpec) -> Device:
    """Load, check and warm up what ``spec`` describes, in the calling thread.

    Imports torch unless the null device is asked for. With ``spec.cores`` the calling
    thread, and every one that it starts, runs on these from now on.

    Raises:
        ModelError: the checkpoint or the device cannot be used as asked.
    """
    if spec.cores:
        os.sched_setaffinity(0, spec.cores)  # of this thread; those that torch makes inherit it
    import_device(spec)
    if spec.device == "null":
        from stages.device.null_engine import NullEngine  # noqa: PLC0415

        return NullEngine(spec)
    from stages.device.engine import Engine  # noqa: PLC0415  (torch reads the environment once)

    return Engine(spec)


@contextmanager
def _hidden(package: str) -> Iterator[None]:
    """Let ``package`` look as if it were not installed, unless it is imported already."""
    if package in sys.modules:
        yield
        return
    sys.modules[package] = None  # type: ignore[assignment]  # what import takes for "not there"
    try:
        yield
    finally:
        del sys.modules[package]
