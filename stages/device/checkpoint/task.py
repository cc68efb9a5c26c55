"""What a checkpoint was trained for: which layers stand above its encoder."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any


class Task(StrEnum):
    """What a checkpoint's own head does with token vectors."""

    EMBED = "embed"  # nothing: the recipe pools them
    MASKED_LM = "masked_lm"  # tells which tokens of the vocabulary could stand there
    CLASSIFY = "classify"  # scores a text, or a pair of texts


def task_of(config: Mapping[str, Any]) -> Task:
    """The task by the name of the architecture in ``config.json``."""
    name = str((config.get("architectures") or [""])[0])
    if name.endswith("ForSequenceClassification"):
        return Task.CLASSIFY
    return Task.MASKED_LM if name.endswith("ForMaskedLM") else Task.EMBED


def labels_of(config: Mapping[str, Any]) -> tuple[str, ...]:
    """A classifier's labels in the order of its scores; none where the config names none."""
    named = config.get("id2label") or {}
    return tuple(str(named[key]) for key in sorted(named, key=int))
