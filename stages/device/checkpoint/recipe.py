"""How a checkpoint wants to be used: what follows the encoder, and its limits.

A sentence-transformers folder declares it in ``modules.json``: an encoder
(Transformer), then Pooling, then any of Dense and Normalize. Both spellings of
the module types are in use (``sentence_transformers.models.Pooling`` and the long
dotted paths of later versions), and both spellings of the pooling mode (one
boolean per mode, or a name). Without ``modules.json`` the encoder's tokens are
averaged and normalised, and ``declared=False`` lets the server say so; a
classifier's are not pooled at all.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from attrs import evolve, field, frozen

from stages.device.checkpoint.json_files import read_json, read_object
from stages.device.checkpoint.modules import Dense, Normalize, read_module
from stages.device.checkpoint.positions import max_tokens
from stages.device.checkpoint.task import Task, labels_of, task_of
from stages.device.errors import ModelError

# In the order in which sentence-transformers concatenates modes given as booleans.
POOLING_FLAGS: Final = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
POOLING_MODES: Final = tuple(POOLING_FLAGS.values())
POOLING_ALIASES: Final = {"mean_sqrt_len": "mean_sqrt_len_tokens", "last": "lasttoken"}

SENTENCE_CONFIGS: Final = tuple(
    f"sentence_{name}_config.json"
    for name in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
)


@frozen
class Recipe:
    """What a checkpoint says of itself, beside its weights.

    ``normalize`` is a *trailing* Normalize: the edge does it, because a request may
    ask otherwise; what the device returns is pooled and passed through ``head``.
    """

    pooling: tuple[str, ...]  # of POOLING_MODES, concatenated in this order
    max_tokens: int  # longest text, special tokens included
    normalize: bool = True
    include_prompt: bool = True  # False: a prompt's tokens stay out of the pooling
    head: tuple[Dense | Normalize, ...] = ()
    prompts: Mapping[str, str] = field(factory=dict)
    default_prompt_name: str = ""
    lower_case: bool = False  # texts are lower-cased before the tokenizer
    declared: bool = True  # False: no modules.json, so this is a guess
    encoder_path: str = ""  # folder of encoder and tokenizer, relative to the checkpoint
    task: Task = Task.EMBED  # what stands above the encoder in the checkpoint
    labels: tuple[str, ...] = ()  # a classifier's, where the checkpoint names them

    @property
    def pooling_name(self) -> str:
        """The pooling modes for display, such as ``mean`` or ``cls+mean``."""
        return "+".join(self.pooling)

    def named_labels(self, scores: int) -> tuple[str, ...]:
        """The labels of ``scores`` scores; where none are named, those of transformers."""
        if len(self.labels) == scores:
            return self.labels
        return tuple(f"LABEL_{number}" for number in range(scores))

    @classmethod
    def read(cls, folder: Path, *, pooling_override: str | None = None) -> "Recipe":
        """Read a checkpoint folder; ``pooling_override`` is a mode, or several with commas.

        Raises:
            ModelError: the folder lacks ``config.json``, or declares what is not known here.
        """
        modules_file = folder / "modules.json"
        if modules_file.exists():
            recipe = _declared(folder, read_json(modules_file))
        else:
            recipe = _unpooled(folder, "", {})
        if pooling_override:
            names = pooling_override.replace("+", ",").split(",")
            task = Task.EMBED if recipe.task is Task.CLASSIFY else recipe.task
            recipe = evolve(recipe, pooling=_pooling_modes(names, "POOLING"), task=task)
        return evolve(recipe, **_prompts(folder))


def _kind(module_type: str) -> str:
    """``Pooling`` of any of the dotted names that sentence-transformers has had for it."""
    package, _, _ = module_type.partition(".")
    return module_type.rpartition(".")[2] if package == "sentence_transformers" else module_type


def _declared(folder: Path, modules: Any) -> Recipe:
    try:
        steps = [(_kind(str(module["type"])), str(module["path"])) for module in modules]
    except (TypeError, KeyError) as error:
        raise ModelError(
            f"{folder / 'modules.json'} is not a list of modules: {error!r}"
        ) from error
    kinds = [kind for kind, _ in steps]
    if kinds[1:] == ["SpladePooling"] and kinds[0] in {"Transformer", "MLMTransformer"}:
        _check_splade(folder / steps[1][1] / "config.json")
        return _unpooled(folder, steps[0][1], _sentence_config(folder / steps[0][1], "fill-mask"))
    known = ("Transformer", "Pooling", "Dense", "Normalize")
    for kind, _ in steps:
        if kind not in known:
            allowed = ", ".join(known)
            raise ModelError(
                f"modules.json of {folder}: module {kind!r} is not known ({allowed} are)"
            )
    if kinds == ["Transformer"] and _is_classifier(folder / steps[0][1]):
        path = steps[0][1]  # a cross-encoder
        return _unpooled(folder, path, _sentence_config(folder / path, "sequence-classification"))
    if kinds[:2] != ["Transformer", "Pooling"]:
        found = ", ".join(kinds)
        raise ModelError(
            f"modules.json of {folder}: Transformer and Pooling must come first, found {found}"
        )
    (_, encoder_path), (_, pooling_path), *rest = steps
    head = tuple(read_module(folder, kind, path) for kind, path in rest)
    while len(head) > 1 and head[-2:] == (Normalize(), Normalize()):
        head = head[:-1]
    normalize = bool(head) and isinstance(head[-1], Normalize)
    sentence = _sentence_config(folder / encoder_path)
    pooling = read_object(folder / pooling_path / "config.json")
    task = task_of(read_object(folder / encoder_path / "config.json"))
    return Recipe(
        pooling=_declared_pooling(pooling, str(folder / pooling_path / "config.json")),
        max_tokens=max_tokens(folder / encoder_path, sentence),
        normalize=normalize,
        include_prompt=bool(pooling.get("include_prompt", True)),
        head=head[:-1] if normalize else head,
        lower_case=bool(sentence.get("do_lower_case", False)),
        encoder_path=encoder_path,
        task=Task.EMBED if task is Task.CLASSIFY else task,
    )


def _is_classifier(encoder: Path) -> bool:
    return task_of(read_object(encoder / "config.json")) is Task.CLASSIFY


def _unpooled(folder: Path, encoder_path: str, sentence: Mapping[str, Any]) -> Recipe:
    """The recipe of a checkpoint that says nothing of pooling to a vector: a guess."""
    config = read_object(folder / encoder_path / "config.json")
    return Recipe(
        ("mean",),
        max_tokens(folder / encoder_path, sentence),
        declared=False,
        encoder_path=encoder_path,
        task=task_of(config),
        labels=labels_of(config),
    )


def _check_splade(file: Path) -> None:
    config = read_object(file)
    asked = config.get("pooling_strategy", "max"), config.get("activation_function", "relu")
    if asked != ("max", "relu"):
        raise ModelError(f"{file}: this kind of SpladePooling is not known: {asked}")


def _sentence_config(encoder: Path, known: str = "feature-extraction") -> dict[str, Any]:
    for name in SENTENCE_CONFIGS:
        if (encoder / name).exists():
            config = read_object(encoder / name)
            task = config.get("transformer_task") or known
            if task != known:
                raise ModelError(f"{encoder / name}: task {task!r} gives no embeddings")
            return config
    return {}


def _declared_pooling(config: Mapping[str, Any], where: str) -> tuple[str, ...]:
    mode = config.get("pooling_mode")
    if mode is None:
        return tuple(name for flag, name in POOLING_FLAGS.items() if config.get(flag)) or ("mean",)
    return _pooling_modes([mode] if isinstance(mode, str) else list(mode), where)


def _pooling_modes(names: list[str], where: str) -> tuple[str, ...]:
    stripped = (str(name).strip() for name in names)
    modes = tuple(POOLING_ALIASES.get(name, name) for name in stripped)
    unknown = [mode for mode in modes if mode not in POOLING_MODES]
    if unknown or not modes:
        allowed = ", ".join(POOLING_MODES)
        raise ModelError(f"{where}: unknown pooling {', '.join(unknown)!r} (allowed: {allowed})")
    return modes


def _prompts(folder: Path) -> dict[str, Any]:
    file = folder / "config_sentence_transformers.json"
    if not file.exists():
        return {}
    config = read_object(file)
    prompts = config.get("prompts") or {}
    default = config.get("default_prompt_name") or ""
    texts = isinstance(prompts, dict) and all(isinstance(text, str) for text in prompts.values())
    if not texts:
        raise ModelError(f"{file}: prompts must map names to texts")
    if default and default not in prompts:
        raise ModelError(f"{file}: default_prompt_name {default!r} is not among the prompts")
    return {"prompts": prompts, "default_prompt_name": default}
