"""torch's varlen_attn with a kernel for the CPU; its face, checks and tracing are its own."""

import warnings

import torch
from fake_gpu import by_offsets

from stages.device.layouts.attention import Kernel, Packing

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it warns where CUDA is absent
    from torch.nn.attention import varlen


def attend(query, key, value, offsets, _, longest, __, is_causal, scale, window_size, *___):
    """What the operator gives: values, the sums of exponents, and a random state; by offsets."""
    assert offsets.dtype is torch.int32
    left, right = window_size
    assert is_causal == ((left, right) == (-1, 0))
    packing = Packing(Kernel.VARLEN, offsets, longest, ())
    mixed = by_offsets(
        query, key, value, packing, scale, left + 1 if left >= 0 else None, right == 0
    )
    sums = torch.zeros(query.shape[1], query.shape[0])
    return mixed, sums, torch.zeros(2, dtype=torch.uint64)


varlen._varlen_attn.register_kernel("cpu")(attend)
