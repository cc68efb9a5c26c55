"""Which kernels a batch spends its time in, by what the device itself says."""

from collections.abc import Callable
from typing import Any, Final

import torch
from torch.profiler import ProfilerActivity, profile

SHOWN: Final = 8
NAME_LENGTH: Final = 70


def kernels(work: Callable[[], object], device: torch.device) -> dict[str, Any]:
    """The sum of what the device spends on ``work``, ms; how many launches; the costliest."""
    activity = ProfilerActivity.CUDA if device.type == "cuda" else ProfilerActivity.CPU
    work()
    with profile(activities=[activity]) as profiled:
        work()
    spent = [
        (_time_us(event) / 1e3, event.count, event.key)
        for event in profiled.key_averages()
        if _time_us(event) > 0
    ]
    spent.sort(reverse=True)
    return {
        "kernels_ms": sum(ms for ms, *_ in spent),
        "launches": sum(count for _, count, _ in spent),
        "costliest": [
            f"{ms:.4f} ms in {count} of {name[:NAME_LENGTH]}" for ms, count, name in spent[:SHOWN]
        ],
    }


def _time_us(event: Any) -> float:
    return float(event.self_device_time_total or event.self_cpu_time_total)
