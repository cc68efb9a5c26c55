"""What an executor counts of the batches that it runs."""

from attrs import define


@define
class ExecutorCounts:
    """Counts since the warm-up. Written by the device thread; may be read from any."""

    computed_tokens: int = 0  # padding included
    graph_hits: int = 0  # batches that replayed a CUDA graph
    graph_misses: int = 0  # batches that had none, on a device that captures them
