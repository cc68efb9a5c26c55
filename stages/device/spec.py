"""What a device is asked to be, and what it answers to. Imports no torch."""

from pathlib import Path
from typing import Protocol

from attrs import frozen

from stages.data.arrays import Int32
from stages.device.checkpoint.recipe import Recipe
from stages.device.errors import ModelError
from stages.load.cost_model import CostModel
from stages.messages.batch import Batch, Layout
from stages.messages.batch_result import DeviceOutput
from stages.requests.output import Output
from stages.threads.pending_work import Pending


@frozen
class EngineSpec:
    """Everything an engine needs to know; plain values, made before torch is imported.

    ``folder`` and ``recipe`` may be None for the null device only.
    """

    folder: Path | None = None
    recipe: Recipe | None = None
    device: str = "auto"  # auto | cpu | cuda | cuda:N | null
    # auto | float32 | bfloat16 | float16; auto: float32 on CPU, bfloat16 or float16 on CUDA
    dtype: str = "auto"
    layout: Layout = Layout.PACKED  # asked for; the engine may have to say no
    threads: int = 0  # 0: torch's own choice
    cores: tuple[int, ...] = ()  # that its threads run on; empty: any
    attention: str = "auto"  # auto | sdpa | flash_attention_2
    compiled: bool = True  # packed on CUDA: fuse what lies between matrix products
    trust_remote_code: bool = False
    control_tokens: tuple[str, ...] = ()  # added to the tokenizer, embeddings resized
    exclude_tokens: tuple[str, ...] = ()  # left out of the pooling
    exclude_special: bool = False  # so are the tokens that the tokenizer puts around a text
    buckets: tuple[int, ...] = (16, 32, 64, 128, 256, 512)
    batch_sizes: tuple[int, ...] = (8, 16, 32, 64, 128, 256, 512)
    max_tokens_per_batch: int = 32768
    max_batch_size: int = 512
    null_dimension: int = 384
    null_vocabulary: int = 30522

    def checkpoint(self) -> tuple[Path, Recipe]:
        """Folder and recipe, which every device but the null device needs."""
        if self.folder is None or self.recipe is None:
            raise ModelError(f"device {self.device}: a model folder and its recipe are needed")
        return self.folder, self.recipe


@frozen
class DeviceFigures:
    """What a device says of itself for metrics and planning."""

    max_tokens: int = 0  # of a batch, padding included; lowered when memory did not suffice
    out_of_memory: int = 0  # how often it did not
    graph_hits: int = 0  # batches that replayed one
    graph_misses: int = 0  # batches for which there was none
    graphs: int = 0  # captured for packed batches
    graph_bytes: int = 0  # memory that they took


class Device(Protocol):
    """A loaded and warmed model, made and used in one thread.

    A :class:`stages.threads.pending_work.Executor`.
    """

    layout: Layout  # what batches should be planned as
    layout_reason: str  # why, when it is not what was asked for; else ""
    dimension: int  # columns of the dense output
    outputs: tuple[Output, ...]  # those that it offers
    dtype: str
    device: str
    vocabulary: int  # ids are in 0 ... vocabulary - 1
    excluded_ids: Int32  # sorted token ids that are left out of the pooling
    cost: CostModel  # measured while warming up

    def figures(self) -> DeviceFigures:
        """What there is to say of the device now. Any thread."""
        ...

    def start(self, batch: Batch) -> Pending[DeviceOutput]:
        """Begin one forward pass; this, or its ``finish``, raises what the device raises."""
        ...

    def idle(self) -> bool:
        """Prepare for what may come, for a moment only; whether there is more to prepare."""
        ...
