"""Attention over packed rows, called by transformers' models in place of their own.

transformers lets a function be registered under a name and passes it whatever
keyword arguments the model was called with. Here it is called ``packed``; no mask
function is registered under that name, so models build no mask, and which tokens
belong together comes in the argument ``packing``.

Three kernels. On the CPU, SDPA over groups of texts of one length: 2.2 to 3.9
times as fast as one padded batch of the same texts, where a full block mask and
nested tensors are slower than padding. On CUDA, ``varlen_attn`` (FlashAttention-2
within torch), or the flash-attn package where it was asked for.
"""

from collections.abc import Sequence
from enum import Enum
from importlib.util import find_spec
from inspect import signature
from typing import Any, Final

import torch
from attrs import define
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

from stages.device.layouts.packing import Group

IMPLEMENTATION: Final = "packed"  # the name under which transformers knows this function
HEAD_DIM_STEP, HEAD_DIM_MAX = 8, 256  # what FlashAttention-2 takes


class Kernel(Enum):
    """What computes attention over a packed row."""

    GROUPS = "sdpa over groups of equal length"
    VARLEN = "torch varlen_attn"
    FLASH = "flash-attn"


@define(eq=False)
class Packing:
    """How a packed row divides into texts, for one forward pass.

    ``offsets`` is int32 [texts + 1] on the device; ``groups`` serve the CPU kernel.
    ``tiled``: those may take the keys of neighbours along, masked (:mod:`stages.device.cpu.tiles`).
    ``calls`` counts the layers that attended through here, compiled ones excepted.
    """

    kernel: Kernel
    offsets: Tensor
    longest: int
    groups: Sequence[Group]
    tiled: bool = True
    calls: int = 0


def register() -> None:
    """Make the name ``packed`` known to transformers; doing it again does no harm."""
    AttentionInterface.register(IMPLEMENTATION, packed_attention)


def choose_kernel(device: torch.device, dtype: torch.dtype, attention: str) -> Kernel | str:
    """The kernel for packed rows, or the reason why there is none."""
    if device.type != "cuda":
        return Kernel.GROUPS
    if dtype not in {torch.float16, torch.bfloat16}:
        return f"packed attention on CUDA needs float16 or bfloat16, not {dtype_name(dtype)}"
    if attention == "flash_attention_2":
        return Kernel.FLASH
    if find_spec("torch.nn.attention.varlen") is None:
        return f"torch {torch.__version__} has no varlen_attn"
    return Kernel.VARLEN


def dtype_name(dtype: torch.dtype) -> str:
    """``float32`` for ``torch.float32``."""
    return str(dtype).removeprefix("torch.")


def packed_attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    packing: Packing,
    scaling: float | None = None,
    sliding_window: int | None = None,
    is_causal: bool | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    """Attention within each text of a packed row.

    ``query`` is [1, heads, tokens, head_dim]; ``key`` and ``value`` may have fewer
    heads (grouped queries). Returns [1, tokens, heads, head_dim]. A token sees its
    neighbours at a distance below ``sliding_window``, all of its text without one,
    and none after itself when causal.

    Raises:
        NotImplementedError: the model uses what is not supported here (a bias, a mask,
            soft caps, sinks); the check while loading turns that into a reason.
    """
    unknown = [
        name
        for name in ("position_bias", "softcap", "s_aux", "head_mask")
        if options.get(name) is not None
    ]
    if attention_mask is not None or unknown:
        raise NotImplementedError(f"packed attention with {', '.join(unknown) or 'a mask'}")
    causal = bool(getattr(module, "is_causal", False)) if is_causal is None else is_causal
    # Back to the projections' own layout [tokens, heads, head_dim]: views, not copies.
    q, k, v = (tensor[0].transpose(0, 1) for tensor in (query, key, value))
    mixed = attend(q, k, v, packing, scaling, sliding_window, causal=causal)
    return mixed.unsqueeze(0), None


def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    packing: Packing,
    scaling: float | None = None,
    window: int | None = None,
    *,
    causal: bool = False,
) -> Tensor:
    """:func:`packed_attention` of [tokens, heads, head_dim], which is what it gives, too."""
    if not torch.compiler.is_compiling():
        packing.calls += 1
    if packing.kernel is Kernel.GROUPS:
        return _by_groups(q, k, v, packing.groups, scaling, window, causal)
    return _by_offsets(q, k, v, packing, scaling, window, causal)


def _by_groups(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    groups: Sequence[Group],
    scaling: float | None,
    window: int | None,
    causal: bool,
) -> Tensor:
    """SDPA over each group, its texts as a batch; the result as [tokens, heads, head_dim]."""
    repeats = q.shape[1] // k.shape[1]
    if repeats > 1:
        k, v = k.repeat_interleave(repeats, dim=1), v.repeat_interleave(repeats, dim=1)
    mixed = torch.empty((*q.shape[:2], v.shape[2]), dtype=q.dtype, device=q.device)
    for group in groups:
        span = slice(group.start, group.end)
        shape = (group.count, group.length)
        queries, keys, values = (
            tensor[span].view(*shape, *tensor.shape[1:]).transpose(1, 2) for tensor in (q, k, v)
        )
        band = _band(group.length, window, q.device, causal=causal)
        result = scaled_dot_product_attention(
            queries, keys, values, band, is_causal=causal and band is None, scale=scaling
        )
        mixed[span].view(*shape, *mixed.shape[1:]).copy_(result.transpose(1, 2))
    mixed[groups[-1].end :].zero_()  # rows that belong to no text
    return mixed


def _band(length: int, window: int | None, device: torch.device, *, causal: bool) -> Tensor | None:
    """Which keys each query sees through a sliding window: bool [length, length].

    None when the window reaches over the whole text.
    """
    if window is None or window >= length:
        return None
    at = torch.arange(length, device=device)
    distance = at[:, None] - at[None, :]
    near = distance.abs() < window
    return near & (distance >= 0) if causal else near


def _by_offsets(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    packing: Packing,
    scaling: float | None,
    window: int | None,
    causal: bool,
) -> Tensor:
    """A variable-length FlashAttention kernel; the result as [tokens, heads, head_dim]."""
    size = q.shape[2]
    if size % HEAD_DIM_STEP or size > HEAD_DIM_MAX:
        raise NotImplementedError(f"packed attention on CUDA with heads of {size} dimensions")
    reach = -1 if window is None else window - 1
    sides = (reach, 0 if causal else reach)
    if packing.kernel is Kernel.FLASH:
        from flash_attn import flash_attn_varlen_func  # type: ignore[import-not-found]  # noqa: PLC0415

        flash: Tensor = flash_attn_varlen_func(
            q, k, v, packing.offsets, packing.offsets, packing.longest, packing.longest,
            softmax_scale=scaling, causal=causal, window_size=sides,
        )  # fmt: skip
        return flash
    from torch.nn.attention.varlen import varlen_attn  # noqa: PLC0415  (warns where CUDA is absent)

    grouped = q.shape[1] != k.shape[1] and _asks_for_groups()
    options: dict[str, Any] = {"enable_gqa": True} if grouped else {}
    mixed = varlen_attn(
        q, k, v, packing.offsets, packing.offsets, packing.longest, packing.longest,
        scale=scaling, window_size=sides, **options,
    )  # fmt: skip
    return mixed if isinstance(mixed, Tensor) else mixed[0]


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def _asks_for_groups() -> bool:
    """Whether varlen_attn must be told of grouped queries; torch 2.11 takes them unasked."""
    from torch.nn.attention.varlen import varlen_attn  # noqa: PLC0415

    return "enable_gqa" in signature(varlen_attn).parameters
