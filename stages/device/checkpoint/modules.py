"""What may follow the pooling: Dense layers and Normalize, as a checkpoint declares them."""

from pathlib import Path
from typing import Final

from attrs import frozen

from stages.device.checkpoint.json_files import read_object
from stages.device.errors import ModelError

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
    """Scaling to unit length between other modules, done on the device."""


def read_module(folder: Path, kind: str, path: str) -> Dense | Normalize:
    """A module after the pooling, by its kind and its folder below ``folder``.

    Raises:
        ModelError: it is of a kind, or does something, that is not known here.
    """
    if kind == "Normalize":
        return Normalize()
    file = folder / path / "config.json"
    if kind != "Dense":
        raise ModelError(f"modules.json of {folder}: a second {kind} is not known")
    config = read_object(file)
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
