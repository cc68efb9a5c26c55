"""What else could compute a layer's parts, and how long each takes, in the shape of BERT-base.

``python -m benchmarks.gpu.alternatives [--device cuda]`` prints them as a line of JSON:
milliseconds of each, or its error, and how far apart the results of two are.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Final

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag, gelu, linear

from benchmarks.gpu.apart import tell
from benchmarks.gpu.preflight import tried
from stages.device.device_choice import choose_dtype
from stages.device.layouts.attention import Kernel, Packing, attend

HIDDEN: Final = 768
WIDE: Final = 3072
HEADS: Final = 12
BATCHES: Final = ((64, 512), (512, 50), (1, 32))  # texts and their length
REPEATS: Final = 20


@torch.inference_mode()
def alternatives(device: torch.device, texts: int, length: int) -> dict[str, Any]:
    """For a batch of ``texts`` texts of ``length`` tokens."""
    dtype, tokens = choose_dtype("auto", device), texts * length

    def some(*size: int) -> Tensor:
        return torch.randn(size, device=device, dtype=dtype).div_(size[-1] ** 0.5)

    x, wide = some(tokens, HIDDEN), some(tokens, WIDE)
    qkv, up, down = some(3 * HIDDEN, HIDDEN), some(WIDE, HIDDEN), some(HIDDEN, WIDE)
    bias, thrice, fourfold = some(HIDDEN), some(3 * HIDDEN), some(WIDE)
    offsets = torch.arange(0, tokens + 1, length, dtype=torch.int32, device=device)
    places = torch.arange(tokens, dtype=torch.int32, device=device)
    q, k, v = linear(x, qkv, thrice).view(tokens, 3, HEADS, -1).unbind(1)

    def varlen() -> Tensor:
        kernel = Kernel.VARLEN if device.type == "cuda" else Kernel.GROUPS
        return attend(q, k, v, Packing(kernel, offsets, length, ()))

    def cudnn() -> Tensor:
        forward = torch.ops.aten._cudnn_attention_forward  # noqa: SLF001 - no other way to ask
        given = q, k, v, None, offsets, offsets, length, length
        out: Tensor = forward(*given, compute_log_sumexp=True)[0]
        return out

    def pooled() -> Tensor:
        return embedding_bag(places, x.float(), offsets, mode="sum", include_last_offset=True)

    works: dict[str, Callable[[], object]] = {
        "three products of 768": lambda: [linear(x, qkv[:HIDDEN], bias) for _ in range(3)],
        "one product of 2304": lambda: linear(x, qkv, thrice),
        "product of 3072, then gelu": lambda: gelu(linear(x, up, fourfold)),
        "product of 3072 with gelu": lambda: torch._addmm_activation(  # noqa: SLF001
            fourfold, x, up.t(), use_gelu=True
        ),
        "product from 3072": lambda: linear(wide, down, bias),
        "sums of texts": pooled,
        "varlen_attn": varlen,
        "attention of cuDNN": cudnn,
    }
    found = {name: tried(partial(_ms, work, device)) for name, work in works.items()}
    found["attention of cuDNN, distance"] = tried(
        lambda: float((cudnn().float() - varlen().float()).norm() / varlen().float().norm())
    )
    return found


def _ms(work: Callable[[], object], device: torch.device) -> float | str:
    if device.type != "cuda":
        work()
        return "done"
    work()
    first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    first.record()
    for _ in range(REPEATS):
        work()
    last.record()
    last.synchronize()
    return float(first.elapsed_time(last)) / REPEATS


def of_all_batches(device: torch.device) -> dict[str, Any]:
    """:func:`alternatives` for each of :data:`BATCHES`; on a CPU for the last."""
    return {
        f"{texts} of {length} tokens, {name}": value
        for texts, length in (BATCHES if device.type == "cuda" else BATCHES[-1:])
        for name, value in alternatives(device, texts, length).items()
    }


if __name__ == "__main__":
    tell(of_all_batches)
