"""A model's tensors before it has weights, made without torch's kernels in Python.

transformers builds a model on the ``meta`` device, where tensors have no values. For some
operations torch computes their shapes in Python and imports sympy for that: 40 MB that
stay. Here the shapes are known, and a tensor without values has nothing to be filled.
"""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

META: Final = torch.device("meta")
NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


class MetaTensors(TorchFunctionMode):
    """In force while it is entered, in the calling thread."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """What ``func`` would give, in shape and dtype; see :mod:`torch.overrides`."""
        named = kwargs or NOTHING
        first = args[0] if args else named.get("tensor")
        if isinstance(first, Tensor) and first.is_meta:
            if getattr(func, "__name__", "") == "normal_":  # of Tensor, and of torch.nn.init
                return first
            if func is torch.empty_like and "memory_format" not in named:
                return torch.empty(first.shape, **{"dtype": first.dtype, "device": META, **named})
        elif func is torch.arange and named.get("device") == META:
            return torch.arange(*args, **{**named, "device": "cpu"}).to(META)
        return func(*args, **named)
