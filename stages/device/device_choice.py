"""Which device and which dtype the values of DEVICE and DTYPE mean on this machine."""

import re
from typing import Final

import torch

from stages.device.errors import ModelError

FLOATS: Final = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


def choose_device(name: str) -> torch.device:
    """The device of a DEVICE value: auto, cpu, cuda or cuda:N.

    Raises:
        ModelError: there is no such device on this machine.
    """
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        return torch.device("cuda", 0) if count else torch.device("cpu")
    if name == "cpu":
        return torch.device("cpu")
    match = re.fullmatch(r"cuda(?::(\d+))?", name)
    if match is None:
        raise ModelError(f"DEVICE={name!r} (allowed: auto, cpu, cuda, cuda:N, null)")
    index = int(match[1] or 0)
    if index >= count:
        raise ModelError(f"DEVICE={name}: torch {torch.__version__} sees {count} CUDA devices")
    return torch.device("cuda", index)


def choose_dtype(name: str, device: torch.device) -> torch.dtype:
    """The dtype of a DTYPE value; auto is float32 on CPU and half precision on CUDA.

    bfloat16 where the GPU computes in it (compute capability 8 and later), else float16.
    """
    if name == "auto":
        if device.type == "cpu":
            return torch.float32
        return torch.bfloat16 if torch.cuda.get_device_capability(device)[0] >= 8 else torch.float16
    if name not in FLOATS:
        raise ModelError(f"DTYPE={name!r} (allowed: auto, {', '.join(FLOATS)})")
    return FLOATS[name]
