"""What the device and its libraries do by themselves, before any model is loaded.

So that a failure further on is known to be theirs or this project's.
``python -m benchmarks.gpu.preflight [--device cuda]`` prints it as a line of JSON.
"""

import importlib
import shutil
import time
from collections.abc import Callable, Mapping
from functools import partial
from importlib.util import find_spec
from typing import Any, Final

import numpy as np
import torch
from torch import nn

from benchmarks.gpu.apart import tell
from stages.device.cuda.gpu import CudaGpu
from stages.device.device_choice import choose_device, choose_dtype
from stages.device.layouts.attention import Kernel, Packing, packed_attention
from stages.device.layouts.packing import Sample
from stages.device.layouts.run_plans import packed_runs

LENGTHS: Final = (1, 7, 7, 40, 130)
# heads, heads of keys, their size, window, causal
ATTENTIONS: Final[Mapping[str, tuple[int, int, int, int | None, bool]]] = {
    "heads of 32": (4, 4, 32, None, False),
    "heads of 64": (4, 4, 64, None, False),
    "window": (4, 4, 64, 8, False),
    "causal": (4, 4, 64, None, True),
    "grouped": (4, 2, 64, None, False),
}
MODULES: Final = ("triton", "transformers", "grpclib", "grpc", "hypercorn", "pytest_trio")


def preflight(device: torch.device) -> dict[str, Any]:
    """What there is, and of each thing that is needed what it gave, or its error."""
    kernel = Kernel.VARLEN if device.type == "cuda" else Kernel.GROUPS
    checks: dict[str, Callable[[], Any]] = {
        f"attention, {name}": partial(_attention, device, kernel, *kind)
        for name, kind in ATTENTIONS.items()
    }
    if device.type == "cuda":
        checks |= {
            "graph": partial(_graph, device),
            "compile_s": partial(_compile_s, device),
            "round_trip_us": partial(_round_trip_us, device),
        }
    return _there_is(device) | {name: tried(check) for name, check in checks.items()}


def _there_is(device: torch.device) -> dict[str, Any]:
    found: dict[str, Any] = {
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "c_compiler": shutil.which("cc") or shutil.which("gcc"),
        "modules": {name: _version(name) for name in MODULES},
    }
    if device.type == "cuda":
        found["device"] = tried(lambda: torch.cuda.get_device_name(device))
        found["capability"] = tried(lambda: torch.cuda.get_device_capability(device))
        found["free_bytes"] = tried(lambda: torch.cuda.mem_get_info(device)[0])
    return found


def _version(name: str) -> str:
    if find_spec(name) is None:
        return "not there"
    return str(tried(lambda: getattr(importlib.import_module(name), "__version__", "there")))


def tried(check: Callable[[], Any]) -> Any:
    """What ``check`` gives, or its error."""
    try:
        return check()
    except Exception as error:  # of any kind: this is what is asked
        return f"{type(error).__name__}: {error}"[:500]


@torch.inference_mode()
def _attention(
    device: torch.device,
    kernel: Kernel,
    heads: int,
    key_heads: int,
    size: int,
    window: int | None,
    causal: bool,
) -> float:
    """The relative distance of ``kernel`` to each group of equal length in float32."""
    (run,) = packed_runs([Sample.of([np.zeros(n, np.int32) for n in LENGTHS])], 1 << 30)
    offsets = torch.from_numpy(run.offsets).to(device)
    q, k, v = (
        torch.randn(1, n, run.size, size, device=device) for n in (heads, key_heads, key_heads)
    )
    dtype = choose_dtype("auto", device)
    half = [tensor.to(dtype) for tensor in (q, k, v)]
    exact = [tensor.float() for tensor in half]
    found, expected = (
        packed_attention(
            nn.Identity(),
            given[0],
            given[1],
            given[2],
            None,
            packing=Packing(which, offsets, max(LENGTHS), run.groups),
            sliding_window=window,
            is_causal=causal,
        )[0].float()
        for which, given in ((kernel, half), (Kernel.GROUPS, exact))
    )
    return float((found - expected).norm() / expected.norm())


@torch.inference_mode()
def _graph(device: torch.device) -> str:
    """Whether a captured graph computes anew from what lies in its input."""
    gpu = CudaGpu(choose_device(str(device)))
    given, found = torch.ones(64, device=device), torch.zeros(64, device=device)

    def double() -> None:
        found.copy_(given * 2)

    replay = gpu.capture(double)
    given.fill_(3)
    replay()
    return "right" if found.eq(6).all().item() else f"wrong: {found[0].item()}"


@torch.inference_mode()
def _compile_s(device: torch.device) -> float:
    """Seconds to compile something small."""
    started = time.monotonic()
    given = torch.randn(64, 64, device=device)
    compiled = torch.compile(lambda x: torch.nn.functional.gelu(x + 1) * x, dynamic=True)
    if not torch.allclose(compiled(given), torch.nn.functional.gelu(given + 1) * given, atol=1e-5):
        raise ValueError("what is compiled computes something else")
    return time.monotonic() - started


@torch.inference_mode()
def _round_trip_us(device: torch.device) -> float:
    """Microseconds for 4 KiB to the device and back, through pinned memory and an event."""
    gpu = CudaGpu(choose_device(str(device)))
    there, back = gpu.pinned(1024, dtype=torch.int32), gpu.pinned(1024, dtype=torch.int32)
    there.copy_(torch.arange(1024, dtype=torch.int32))
    on_device, event = torch.zeros(1024, dtype=torch.int32, device=device), gpu.event()
    spans = []
    for _ in range(20):
        started = time.perf_counter()
        on_device.copy_(there, non_blocking=True)
        back.copy_(on_device, non_blocking=True)
        event.record()
        event.synchronize()
        spans.append((time.perf_counter() - started) * 1e6)
    if not there.equal(back):
        raise ValueError("what came back is something else")
    return min(spans)


if __name__ == "__main__":
    tell(preflight)
