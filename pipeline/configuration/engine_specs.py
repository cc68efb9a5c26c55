"""What each device is asked to be."""

from collections.abc import Collection
from pathlib import Path
from typing import Final

from attrs import evolve

from pipeline.process.cpu_affinity import shares
from pipeline.settings.table import Settings
from stages.bucketing import buckets_for
from stages.device.checkpoint.recipe import Recipe
from stages.device.spec import EngineSpec
from stages.messages.batch import Layout

BATCH_SIZES: Final = (8, 16, 32, 64, 128, 256, 512)


def batch_sizes(settings: Settings) -> tuple[int, ...]:
    """The fixed sizes within MAX_BATCH_SIZE, which itself is the last."""
    most = settings.max_batch_size
    return (*(size for size in BATCH_SIZES if size < most), most)


def engine_specs(
    settings: Settings, folder: Path, recipe: Recipe, cores: Collection[int]
) -> tuple[EngineSpec, ...]:
    """What each device is asked to be; ``cores`` are those that this process may run on."""
    common = EngineSpec(
        folder=folder,
        recipe=recipe,
        dtype=settings.dtype,
        layout=Layout(settings.batching),
        attention=settings.attention,
        compiled=settings.compile,
        trust_remote_code=settings.trust_remote_code,
        control_tokens=settings.control_tokens,
        exclude_tokens=settings.pooling_exclude_tokens,
        exclude_special=settings.pooling_exclude_special,
        buckets=buckets_for(recipe.max_tokens),
        batch_sizes=batch_sizes(settings),
        max_tokens_per_batch=settings.max_tokens_per_batch,
        max_batch_size=settings.max_batch_size,
        null_dimension=settings.null_dimension,
    )
    return tuple(
        evolve(common, device=device, cores=share.cores, threads=share.threads)
        for device, share in zip(settings.device, shares(settings, cores), strict=True)
    )
