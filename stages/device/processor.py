"""What the CPU is good at."""

import torch


def multiplies_bfloat16() -> bool:
    """Whether it has units for products of bfloat16."""
    cpu = torch.cpu
    return cpu._is_avx512_bf16_supported() or cpu._is_amx_tile_supported()  # noqa: SLF001
