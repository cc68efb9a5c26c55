"""A capture on a CUDA device: what it leaves behind when it is broken off."""

import pytest
import torch

from stages.device.cuda.gpu import CudaGpu

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
    pytest.mark.timeout(120),
]


def waits(given):
    """Raises in a capture, which a wait for the device breaks off."""
    if torch.cuda.is_current_stream_capturing():
        given.sum().item()


def raises(given):
    """Raises in a capture, which can be ended all the same."""
    given.add_(1)
    if torch.cuda.is_current_stream_capturing():
        raise ValueError("no such layer")


@pytest.mark.parametrize("breaks", [waits, raises])
def test_after_a_capture_that_is_broken_off_memory_is_given_back_and_work_goes_on(breaks):
    gpu = CudaGpu(torch.device("cuda", 0))
    given = torch.ones(4, device="cuda")
    with pytest.raises((RuntimeError, ValueError)):
        gpu.capture(lambda: breaks(given))
    held = torch.empty(1 << 28, dtype=torch.uint8, device="cuda")
    reserved = torch.cuda.memory_reserved()
    del held
    gpu.free_bytes()
    assert torch.cuda.memory_reserved() <= reserved - (1 << 28)
    assert given.fill_(2).sum().item() == 8
    replay = gpu.capture(lambda: given.mul_(2))  # runs in the warm-ups, not in the capture
    before = given.sum().item()
    replay()
    assert given.sum().item() == 2 * before
