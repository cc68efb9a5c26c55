"""Which errors leave a device unusable."""

import pytest
import torch

from stages.device.faults import is_sticky


@pytest.mark.parametrize(
    "error",
    [
        torch.AcceleratorError(
            "CUDA error: an illegal memory access was encountered\nCUDA kernel errors might be "
            "asynchronously reported at some other API call"
        ),
        RuntimeError("CUDA error: device-side assert triggered"),
        RuntimeError("Triton Error [CUDA]: an illegal memory access was encountered"),
        RuntimeError("CUDA error: unspecified launch failure"),
        RuntimeError("CUDA error: uncorrectable ECC error encountered"),
    ],
)
def test_it_is_lost_after_what_cuda_calls_sticky(error):
    assert is_sticky(error)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("CUDA error: invalid argument"),
        RuntimeError("The size of tensor a (3) must match the size of tensor b (4)"),
        ValueError("an illegal memory access was encountered"),
    ],
)
def test_it_goes_on_after_others(error):
    assert not is_sticky(error)
