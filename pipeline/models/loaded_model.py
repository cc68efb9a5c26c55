"""A model that is warm, and the threads that run it."""

from collections.abc import Sequence

from attrs import frozen

from pipeline.interface.status import ModelInfo
from stages.device.checkpoint.recipe import Recipe
from stages.device.spec import Device
from stages.execution import DeviceRunner
from stages.text.text_tokenizer import TextTokenizer
from stages.tokenizing import TokenizerRunner


@frozen(eq=False)
class LoadedModel:
    """What :func:`pipeline.models.loading.load_model` makes; ready to serve."""

    info: ModelInfo
    recipe: Recipe
    text_tokenizer: TextTokenizer
    devices: Sequence[Device]
    tokenizer_runner: TokenizerRunner
    device_runners: Sequence[DeviceRunner]

    @property
    def device(self) -> Device:
        """The first device; all agree in what is asked of it."""
        return self.devices[0]

    def max_batch_tokens(self) -> int:
        """How many tokens a batch may have on any device: fewer once one ran out of memory."""
        return min(device.figures().max_tokens for device in self.devices)
