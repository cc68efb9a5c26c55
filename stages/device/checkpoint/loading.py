"""Loading a model from a folder: never from a network, never silently random.

transformers initialises whatever a checkpoint lacks and only warns, so what was
missing is read from its report and is an error here. The pooler is the exception:
its weights are often absent and nothing but a classifier's head uses it. A head
for masked language modelling that is not there is not offered.

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
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    AutoModelForTextEncoding,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.utils import logging

from stages.device.checkpoint.meta_tensors import MetaTensors
from stages.device.checkpoint.task import Task
from stages.device.checkpoint.weights import weight_files
from stages.device.errors import ModelError

LOADERS: Final = {
    Task.EMBED: AutoModel,
    Task.MASKED_LM: AutoModelForMaskedLM,
    Task.CLASSIFY: AutoModelForSequenceClassification,
}
UNUSED: Final = re.compile(r"(^|\.)pooler\.")  # weights that may be missing
SHOWN: Final = 3  # names in an error message


@frozen(eq=False)
class Report:
    """What transformers says about a load: weights that are missing, and those left over."""

    missing: tuple[str, ...]
    left_over: tuple[str, ...]

    @classmethod
    def of(cls, info: Mapping[str, Any], task: Task) -> "Report":
        """From ``output_loading_info``; weights that nothing uses do not count as missing."""
        names = sorted(info["missing_keys"])
        missing = [name for name in names if task is Task.CLASSIFY or not UNUSED.search(name)]
        return cls(tuple(missing), tuple(sorted(info["unexpected_keys"])))

    def prefix(self) -> str:
        """What stands before the encoder's names in the checkpoint; "" when nothing does."""
        for name in self.missing:
            for found in self.left_over:
                if found.endswith(f".{name}"):
                    return found[: -len(name)]
        return ""


def load_model(
    folder: Path,
    *,
    device: torch.device,
    dtype: torch.dtype,
    task: Task = Task.EMBED,
    attention: str = "auto",
    trust_remote_code: bool = False,
    table_rows: int = 0,
) -> PreTrainedModel:
    """The model in ``folder``, in eval mode on ``device``.

    With Task.EMBED that is the encoder without a pooler; otherwise its head is loaded too,
    unless the one for Task.MASKED_LM is not in the checkpoint.

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
        with quiet():
            config = AutoConfig.from_pretrained(folder, **options)
            config.use_cache = False
            options |= {"config": config, "dtype": dtype}
            if attention != "auto":
                options["attn_implementation"] = attention
            model, report = _load_stripped(folder, options, task)
            if task is Task.MASKED_LM and (report.missing or model.base_model is model):
                task = Task.EMBED
                model, report = _load_stripped(folder, options, task)
    except Exception as error:
        asks = "trust_remote_code" in str(error)
        hint = " (TRUST_REMOTE_CODE=true lets it run)" if asks else ""
        raise ModelError(f"cannot load {folder}: {_first_line(error)}{hint}") from error
    if report.missing:
        names = ", ".join(report.missing[:SHOWN])
        raise ModelError(
            f"{folder}: the checkpoint lacks {len(report.missing)} of the model's weights: "
            f"{names}{', ...' if len(report.missing) > SHOWN else ''}"
        )
    if task is Task.EMBED and getattr(model, "pooler", None) is not None:
        model.register_module("pooler", None)
    if table_rows:
        _widen_table(model, table_rows)
    model.train(mode=False)
    model.requires_grad_(requires_grad=False)
    placed: PreTrainedModel = model.to(device)  # type: ignore[arg-type]
    return placed


def _load_stripped(
    folder: Path, options: Mapping[str, Any], task: Task
) -> tuple[PreTrainedModel, Report]:
    model, report = _load(folder, options, task)
    if report.missing and report.prefix():
        # The whole name is matched: transformers 5.3 removes a match wherever it stands.
        strip = {f"^{re.escape(report.prefix())}(.+)$": r"\1"}
        model, report = _load(folder, {**options, "key_mapping": strip}, task)
    return model, report


def _load(folder: Path, options: Mapping[str, Any], task: Task) -> tuple[PreTrainedModel, Report]:
    loader: Any = LOADERS[task]
    if task is Task.EMBED and _is_half(options["config"]):
        loader = AutoModelForTextEncoding
    with MetaTensors():
        model, info = loader.from_pretrained(folder, output_loading_info=True, **options)
    return model, Report.of(info, task)


def _is_half(config: PreTrainedConfig) -> bool:
    """Whether only the encoder of an encoder and a decoder is wanted, or was kept."""
    kept = config.architectures or ()
    return config.is_encoder_decoder or any(name.endswith("EncoderModel") for name in kept)


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
    with quiet(), torch.no_grad():
        wider = model.resize_token_embeddings(rows, mean_resizing=False)
        wider.weight[old:] = mean


@contextmanager
def quiet() -> Iterator[None]:
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
