"""Loading an encoder from a folder: never from a network, never silently random.

transformers initialises whatever a checkpoint lacks and only warns, so what was
missing is read from its report and is an error here. The pooler is the exception:
its weights are often absent and nothing here uses it.

Checkpoints often hold the encoder below another module (``encoder.``,
``0.auto_model.``, ``module.``). The prefix is found by comparing a missing name
with the names that were left over, and taken off.

Weights in safetensors of the dtype asked for are mapped into memory, not copied.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from logging import ERROR
from pathlib import Path
from typing import Any, Final

import torch
from attrs import frozen
from torch import nn
from transformers import AutoConfig, AutoModel, AutoModelForTextEncoding, PreTrainedModel
from transformers.utils import logging

from stages.device.errors import ModelError
from stages.device.weights import weight_files

FLOATS: Final = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
UNUSED: Final = re.compile(r"(^|\.)pooler\.")  # weights that may be missing
SHOWN: Final = 3  # names in an error message


@frozen(eq=False)
class Report:
    """What transformers says about a load: names of weights without and beyond a match."""

    missing: tuple[str, ...]
    left_over: tuple[str, ...]

    @classmethod
    def of(cls, info: Mapping[str, Any]) -> "Report":
        """From ``output_loading_info``; weights that nothing uses do not count as missing."""
        missing = sorted(name for name in info["missing_keys"] if not UNUSED.search(name))
        return cls(tuple(missing), tuple(sorted(info["unexpected_keys"])))

    def prefix(self) -> str:
        """What stands before the encoder's names in the checkpoint; "" when nothing does."""
        for name in self.missing:
            for found in self.left_over:
                if found.endswith(f".{name}"):
                    return found[: -len(name)]
        return ""


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


def load_encoder(
    folder: Path,
    *,
    device: torch.device,
    dtype: torch.dtype,
    attention: str = "auto",
    trust_remote_code: bool = False,
    table_rows: int = 0,
) -> PreTrainedModel:
    """The encoder in ``folder``, in eval mode on ``device``, without a pooler.

    ``table_rows`` is the least number of rows of the embedding table (0: as it is);
    rows are added only when it is too small.

    Raises:
        ModelError: no weights, weights missing, or an architecture that gives no
            token vectors.
    """
    if not weight_files(folder):
        raise ModelError(f"{folder} holds no weights (model.safetensors or pytorch_model.bin)")
    options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": trust_remote_code}
    try:
        with _quiet():
            config = AutoConfig.from_pretrained(folder, **options)
            config.use_cache = False
            options |= {"config": config, "dtype": dtype}
            if attention != "auto":
                options["attn_implementation"] = attention
            model, report = _load(folder, options)
            if report.missing and report.prefix():
                strip = {f"^{re.escape(report.prefix())}": ""}
                model, report = _load(folder, {**options, "key_mapping": strip})
    except Exception as error:
        raise ModelError(f"cannot load {folder}: {_first_line(error)}") from error
    if report.missing:
        names = ", ".join(report.missing[:SHOWN])
        raise ModelError(
            f"{folder}: the checkpoint lacks {len(report.missing)} of the model's weights: "
            f"{names}{', ...' if len(report.missing) > SHOWN else ''}"
        )
    if getattr(model, "pooler", None) is not None:
        model.register_module("pooler", None)
    if table_rows:
        _widen_table(model, table_rows)
    model.train(mode=False)
    model.requires_grad_(requires_grad=False)
    placed: PreTrainedModel = model.to(device)  # type: ignore[arg-type]
    return placed


def _load(folder: Path, options: Mapping[str, Any]) -> tuple[PreTrainedModel, Report]:
    encoder_only = getattr(options["config"], "is_encoder_decoder", False)
    loader: Any = AutoModelForTextEncoding if encoder_only else AutoModel
    model, info = loader.from_pretrained(folder, output_loading_info=True, **options)
    return model, Report.of(info)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _widen_table(model: PreTrainedModel, rows: int) -> None:
    """Give the embedding table at least ``rows`` rows; the new ones are the mean of the old.

    The mean keeps a new token within the distribution that the model knows, and
    every start gives the same rows.
    """
    table = model.get_input_embeddings()
    if not isinstance(table, nn.Embedding):
        raise ModelError(f"{type(model).__name__} has no embedding table to add tokens to")
    old = table.num_embeddings
    if rows <= old:
        return
    mean = table.weight.detach().float().mean(dim=0)
    with _quiet(), torch.no_grad():
        wider = model.resize_token_embeddings(rows, mean_resizing=False)
        wider.weight[old:] = mean


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence transformers' progress bars and load reports; what they say is checked here."""
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(ERROR)
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]
