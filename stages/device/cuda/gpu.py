"""What the engine asks of CUDA, in one place: a stream, pinned memory, events, graphs.

A protocol, so that everything else about batches in flight runs without a GPU, too.
"""

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Lock
from typing import Final, Protocol, TypeAlias

import torch
from torch import Tensor

Replay: TypeAlias = Callable[[], None]

_COLLECTION: Final = Lock()  # one capture at a time: the first to end would resume it
WARM_UPS: Final = 2  # before a capture: libraries make their handles and workspaces


class Event(Protocol):
    """A point in the stream that can be waited for."""

    def record(self) -> None:
        """Mark what was enqueued so far."""
        ...

    def synchronize(self) -> None:
        """Wait until the marked work is done; lets other threads run meanwhile."""
        ...


class Gpu(Protocol):
    """One stream of one device; belongs to the thread that made it, events excepted."""

    device: torch.device

    def pinned(self, *size: int, dtype: torch.dtype) -> Tensor:
        """Memory of the host that the device copies from and to by itself."""
        ...

    def event(self) -> Event:
        """An event that sleeps while it waits."""
        ...

    def capture(self, body: Callable[[], None]) -> Replay:
        """``body`` as a graph; it has run by then, and runs again on every call of the result."""
        ...

    def free_bytes(self) -> int:
        """Free memory of the device, cached blocks given back first."""
        ...

    def total_bytes(self) -> int:
        """Memory of the device."""
        ...


class CudaGpu:
    """A :class:`Gpu` on CUDA. The calling thread's work goes to its stream from here on.

    Its own stream, because the default one cannot be captured; and the same one for
    copies, passes and captures, so that batches run in the order of their launches
    and may share their buffers on the device.
    """

    def __init__(self, device: torch.device) -> None:
        torch.cuda.set_device(device)
        self.device = device
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        torch.cuda.set_stream(self._stream)
        self._pool = torch.cuda.graph_pool_handle()  # graphs never run at the same time

    def pinned(self, *size: int, dtype: torch.dtype) -> Tensor:
        """See :class:`Gpu`."""
        return torch.empty(size, dtype=dtype, pin_memory=True)

    def event(self) -> Event:
        """See :class:`Gpu`."""
        event: Event = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
        return event

    def capture(self, body: Callable[[], None]) -> Replay:
        """See :class:`Gpu`."""
        for _ in range(WARM_UPS):
            body()
        graph = torch.cuda.CUDAGraph()
        try:
            # thread_local: another device's thread may allocate meanwhile.
            with (
                _no_garbage_collection(),
                torch.cuda.graph(
                    graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"
                ),
            ):
                body()
        except Exception:
            self._leave_capture()
            raise
        return graph.replay

    def _leave_capture(self) -> None:
        """Let the allocator know that a capture is over which could not be ended.

        Else it would take it for one under way, and never again give memory back.
        """
        with suppress(RuntimeError):  # it does know
            torch._C._cuda_endAllocateToPool(self.device.index, self._pool)  # noqa: SLF001

    def free_bytes(self) -> int:
        """See :class:`Gpu`."""
        self._stream.synchronize()
        torch.cuda.empty_cache()
        return torch.cuda.mem_get_info(self.device)[0]

    def total_bytes(self) -> int:
        """See :class:`Gpu`."""
        return torch.cuda.mem_get_info(self.device)[1]


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """An engine that is garbage would take its graphs apart in the middle of a capture."""
    with _COLLECTION:
        collects = gc.isenabled()
        gc.disable()
        try:
            yield
        finally:
            if collects:
                gc.enable()
