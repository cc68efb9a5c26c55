"""How a checkpoint wants to be used: what follows the encoder, and its limits.

A sentence-transformers folder declares it in ``modules.json``: an encoder
(Transformer), then Pooling, then any of Dense and Normalize. Both spellings of
the module types are in use (``sentence_transformers.models.Pooling`` and the long
dotted paths of later versions), and both spellings of the pooling mode (one
boolean a mode, or a name). Without ``modules.json`` the encoder's tokens are
averaged and normalised, which ``declared=False`` lets the server say aloud.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from attrs import evolve, field, frozen

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

# Functions of torch.nn.functional by the class name that a Dense module's config ends in.
ACTIVATIONS: Final = {
    "Identity": "",
    "Tanh": "tanh",
    "ReLU": "relu",
    "GELU": "gelu",
    "SiLU": "silu",
    "Sigmoid": "sigmoid",
    "LeakyReLU": "leaky_relu",
    "ELU": "elu",
    "Mish": "mish",
    "Softplus": "softplus",
}

# Model types whose first position is pad_token_id + 1 (as their modeling files compute it).
PAD_OFFSET_TYPES: Final = frozenset(
    {
        *("camembert", "data2vec-text", "ibert", "lilt", "longformer", "luke", "markuplm"),
        *("mpnet", "roberta", "roberta-prelayernorm", "xlm-roberta", "xlm-roberta-xl", "xmod"),
    }
)
POSITION_KEYS: Final = ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length")
FALLBACK_MAX_TOKENS: Final = 512  # for models with relative positions that declare no limit
UNLIMITED: Final = 1 << 30  # tokenizers write 1e30 for "no limit"

SENTENCE_CONFIGS: Final = tuple(
    f"sentence_{name}_config.json"
    for name in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
)


@frozen
class Dense:
    """A linear layer after pooling: its sizes, its activation, and the folder of its weights."""

    path: str
    in_features: int
    out_features: int
    bias: bool = True
    activation: str = "Tanh"  # a key of ACTIVATIONS
    residual: bool = False


@frozen
class Normalize:
    """Scaling to unit length in the midst of the modules, done on the device."""


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

    @property
    def pooling_name(self) -> str:
        """The pooling modes for display, such as ``mean`` or ``cls+mean``."""
        return "+".join(self.pooling)

    @classmethod
    def read(cls, folder: Path, *, pooling_override: str | None = None) -> "Recipe":
        """Read a checkpoint folder; ``pooling_override`` is a mode, or several with commas.

        Raises:
            ModelError: the folder lacks ``config.json``, or declares what is not known here.
        """
        modules_file = folder / "modules.json"
        if modules_file.exists():
            recipe = _declared(folder, _json(modules_file))
        else:
            recipe = cls(("mean",), _max_tokens(folder, {}), declared=False)
        if pooling_override:
            names = pooling_override.replace("+", ",").split(",")
            recipe = evolve(recipe, pooling=_pooling_modes(names, "POOLING"))
        return evolve(recipe, **_prompts(folder))


def _json(file: Path) -> Any:
    try:
        return json.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        raise ModelError(f"{file.parent} has no {file.name}") from None
    except ValueError as error:
        raise ModelError(f"{file} is not JSON: {error}") from error


def _object(file: Path) -> dict[str, Any]:
    value = _json(file)
    if not isinstance(value, dict):
        raise ModelError(f"{file} does not hold a JSON object")
    return value


def _kind(module_type: str) -> str:
    """``Pooling`` of any of the dotted names that sentence-transformers has had for it."""
    package, _, _ = module_type.partition(".")
    return module_type.rpartition(".")[2] if package == "sentence_transformers" else module_type


def _declared(folder: Path, modules: Any) -> Recipe:
    try:
        steps = [(_kind(str(module["type"])), str(module["path"])) for module in modules]
    except (TypeError, KeyError) as error:
        raise ModelError(f"{folder / 'modules.json'} is no list of modules: {error!r}") from error
    known = ("Transformer", "Pooling", "Dense", "Normalize")
    for kind, _ in steps:
        if kind not in known:
            allowed = ", ".join(known)
            raise ModelError(
                f"modules.json of {folder}: module {kind!r} is not known ({allowed} are)"
            )
    if [kind for kind, _ in steps[:2]] != ["Transformer", "Pooling"]:
        found = ", ".join(kind for kind, _ in steps)
        raise ModelError(
            f"modules.json of {folder}: Transformer and Pooling must come first, found {found}"
        )
    (_, encoder_path), (_, pooling_path), *rest = steps
    head = tuple(_head_module(folder, kind, path) for kind, path in rest)
    while len(head) > 1 and head[-2:] == (Normalize(), Normalize()):
        head = head[:-1]
    normalize = bool(head) and isinstance(head[-1], Normalize)
    sentence = _sentence_config(folder / encoder_path)
    pooling = _object(folder / pooling_path / "config.json")
    return Recipe(
        pooling=_declared_pooling(pooling, str(folder / pooling_path / "config.json")),
        max_tokens=_max_tokens(folder / encoder_path, sentence),
        normalize=normalize,
        include_prompt=bool(pooling.get("include_prompt", True)),
        head=head[:-1] if normalize else head,
        lower_case=bool(sentence.get("do_lower_case", False)),
        encoder_path=encoder_path,
    )


def _sentence_config(encoder: Path) -> dict[str, Any]:
    for name in SENTENCE_CONFIGS:
        if (encoder / name).exists():
            config = _object(encoder / name)
            task = config.get("transformer_task") or "feature-extraction"
            if task != "feature-extraction":
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


def _head_module(folder: Path, kind: str, path: str) -> Dense | Normalize:
    if kind == "Normalize":
        return Normalize()
    file = folder / path / "config.json"
    if kind != "Dense":
        raise ModelError(f"modules.json of {folder}: a second {kind} is not known")
    config = _object(file)
    ends = config.get("module_input_name"), config.get("module_output_name")
    inputs = {end or "sentence_embedding" for end in ends}
    dotted = str(config.get("activation_function") or "torch.nn.modules.linear.Identity")
    if "activation_function" not in config:
        dotted = "torch.nn.modules.activation.Tanh"  # sentence-transformers' default
    name = dotted.rpartition(".")[2]
    if inputs != {"sentence_embedding"}:
        raise ModelError(f"{file}: a Dense module on {sorted(inputs)} is not known")
    if not dotted.startswith("torch.nn.") or name not in ACTIVATIONS:
        raise ModelError(f"{file}: unknown activation {dotted!r} (known: {', '.join(ACTIVATIONS)})")
    try:
        sizes = int(config["in_features"]), int(config["out_features"])
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{file}: in_features and out_features must be numbers") from error
    residual = bool(config.get("use_residual", False))
    return Dense(path, *sizes, bool(config.get("bias", True)), name, residual)


def first_position(config: Mapping[str, Any]) -> int:
    """The position id of a text's first token, from the values of ``config.json``."""
    if config.get("model_type") not in PAD_OFFSET_TYPES:
        return 0
    pad = config.get("pad_token_id")
    return (1 if pad is None else int(pad)) + 1


def _max_tokens(encoder: Path, sentence: Mapping[str, Any]) -> int:
    config = _object(encoder / "config.json")
    config = {**config, **(config.get("text_config") or {})}
    limits = [int(config[key]) - first_position(config) for key in POSITION_KEYS if config.get(key)]
    declared = sentence.get("max_seq_length")
    if declared is None and (encoder / "tokenizer_config.json").exists():
        declared = _object(encoder / "tokenizer_config.json").get("model_max_length")
    if declared is not None and 0 < declared < UNLIMITED:
        limits.append(int(declared))
    return min((limit for limit in limits if limit > 0), default=FALLBACK_MAX_TOKENS)


def _prompts(folder: Path) -> dict[str, Any]:
    file = folder / "config_sentence_transformers.json"
    if not file.exists():
        return {}
    config = _object(file)
    prompts = config.get("prompts") or {}
    default = config.get("default_prompt_name") or ""
    texts = isinstance(prompts, dict) and all(isinstance(text, str) for text in prompts.values())
    if not texts:
        raise ModelError(f"{file}: prompts must map names to texts")
    if default and default not in prompts:
        raise ModelError(f"{file}: default_prompt_name {default!r} is not among the prompts")
    return {"prompts": prompts, "default_prompt_name": default}
