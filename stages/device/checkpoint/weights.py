"""Where a checkpoint keeps its weights."""

from pathlib import Path
from typing import Final

# What transformers loads, first match first; the indices name the shards beside them.
WEIGHTS: Final = (
    ("model.safetensors", "model.safetensors"),
    ("model.safetensors.index.json", "model-*.safetensors"),
    ("pytorch_model.bin", "pytorch_model.bin"),
    ("pytorch_model.bin.index.json", "pytorch_model-*.bin"),
)


def weight_files(folder: Path) -> list[Path]:
    """The files with the weights in ``folder``, sorted; [] when there are none."""
    for marker, pattern in WEIGHTS:
        if (folder / marker).exists():
            return sorted(folder.glob(pattern))
    return []
