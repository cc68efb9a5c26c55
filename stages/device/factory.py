"""Makes the device that a spec describes. Imports no torch before it is asked to."""

from importlib import import_module

from stages.device.checkpoint.lean_import import import_lean
from stages.device.cpu.core_parts import bind_team
from stages.device.making import made_alone
from stages.device.spec import Device, EngineSpec
from stages.threads.cores import run_on


def import_device(spec: EngineSpec) -> None:
    """Import what :func:`make_device` will need; takes seconds with torch among it."""
    if spec.device == "null":
        import_module("stages.device.null_engine")
    else:
        import_lean("stages.device.engine", compiler=not _is_cpu(spec.device))


def make_device(spec: EngineSpec) -> Device:
    """Load, check and warm up what ``spec`` describes, in the calling thread.

    Imports torch unless the null device is asked for. With ``spec.cores`` the calling
    thread, and every one that it starts, runs on these from now on; on a CPU the threads
    that compute have a part of its cores each (:mod:`stages.device.cpu.core_parts`), and the
    calling one is the first of them. On GPUs this waits for what other threads make.

    Raises:
        ModelError: the checkpoint or the device cannot be used as asked.
    """
    run_on(spec.cores)  # those that torch makes inherit it
    import_device(spec)
    if spec.device == "null":
        from stages.device.null_engine import NullEngine  # noqa: PLC0415

        return NullEngine(spec)
    from stages.device.engine import Engine  # noqa: PLC0415  (torch reads the environment once)

    if _is_cpu(spec.device):
        bind_team(spec.cores, spec.threads)
        return Engine(spec)
    with made_alone():
        return Engine(spec)


def _is_cpu(device: str) -> bool:
    import torch  # noqa: PLC0415

    return device == "cpu" or (device == "auto" and not torch.cuda.is_available())
