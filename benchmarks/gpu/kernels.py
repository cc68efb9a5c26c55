"""Which kernels a batch spends its time in, by what the device itself says."""

from collections import Counter
from collections.abc import Callable
from typing import Any, Final

import torch
from torch.profiler import ProfilerActivity, profile

SHOWN: Final = 8
NAME_LENGTH: Final = 70


def kernels(work: Callable[[], object], device: torch.device) -> dict[str, Any]:
    """What the device does for ``work``, copies included; on a CPU, the operators in it.

    ``device_ms`` from the first one's beginning to the last one's end, ``kernels_ms`` their
    sum, how many ``launches``, and the ``costliest``.
    """
    on_cuda = device.type == "cuda"
    work()
    activity = ProfilerActivity.CUDA if on_cuda else ProfilerActivity.CPU
    with profile(activities=[activity], acc_events=True) as seen:  # torch 2.11 warns otherwise
        work()
    where = "CUDA" if on_cuda else "CPU"
    events = [each for each in seen.events() if each.device_type.name == where]
    spans = [(each.name, each.time_range) for each in events]
    if not spans:
        raise RuntimeError("the profiler saw nothing")
    counts, spent_us = Counter(name for name, _ in spans), Counter[str]()
    for name, span in spans:
        spent_us[name] += span.elapsed_us()
    first, last = min(span.start for _, span in spans), max(span.end for _, span in spans)
    return {
        "device_ms": (last - first) / 1e3,
        "kernels_ms": spent_us.total() / 1e3,
        "launches": len(spans),
        "costliest": [
            f"{spent / 1e3:.4f} ms in {counts[name]} of {name[:NAME_LENGTH]}"
            for name, spent in spent_us.most_common(SHOWN)
        ],
    }
