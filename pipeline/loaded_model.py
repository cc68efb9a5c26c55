"""A model that is warm, and the threads that run it."""

from collections.abc import Sequence

from attrs import frozen

from pipeline.face import ModelInfo
from stages.device.recipe import Recipe
from stages.device.spec import Device
from stages.execution import DeviceRunner
from stages.text_tokenizer import TextTokenizer
from stages.tokenizing import TokenizerRunner


@frozen(eq=False)
class LoadedModel:
    """What :func:`pipeline.loading.load_model` makes; ready to serve."""

    info: ModelInfo
    recipe: Recipe
    text_tokenizer: TextTokenizer
    device: Device  # the first one; all agree in what is asked of it here
    tokenizer_runner: TokenizerRunner
    device_runners: Sequence[DeviceRunner]
