"""A model that is warm, and the two threads that run it."""

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
    device: Device
    tokenizer_runner: TokenizerRunner
    device_runner: DeviceRunner
