"""From MODEL_PATH to a warm model: fetch, read the recipe, start the two threads.

The tokenizing thread and the device thread are started under a nursery that
outlives the stages, so that a restarted stage finds its model warm.
"""

import os
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from typing import Any, TypeVar

import structlog
import trio

from pipeline.configuration.engine_specs import engine_specs
from pipeline.configuration.token_rules import missing_tokens
from pipeline.interface.status import ModelInfo
from pipeline.models.loaded_model import LoadedModel
from pipeline.models.resolve import ResolvedModel, resolve_model
from pipeline.process.logs import route_library_logs
from pipeline.settings.table import Settings
from stages.device.checkpoint.fingerprint import fingerprint
from stages.device.checkpoint.recipe import Recipe
from stages.device.checkpoint.task import Task
from stages.device.errors import ModelError
from stages.device.factory import import_device, make_device
from stages.device.spec import Device, EngineSpec
from stages.messages.batch import Batch
from stages.messages.batch_result import DeviceOutput
from stages.requests.output import Output
from stages.text.text_tokenizer import TextTokenizer
from stages.text.tokenizer_work import TokenizerWork
from stages.threads.inline_runner import InlineRunner
from stages.threads.pending_work import Executor, Synchronous
from stages.threads.worker import WorkerThread

T = TypeVar("T")
In = TypeVar("In")
Out = TypeVar("Out")

log = structlog.get_logger()


async def load_model(settings: Settings, nursery: trio.Nursery) -> LoadedModel:
    """Make the model that ``settings`` ask for ready to serve.

    Raises what fetching raises, and :class:`stages.device.errors.ModelError` for a
    checkpoint or a device that cannot be used.
    """
    resolved = await _fetch(settings)
    recipe = Recipe.read(resolved.folder, pooling_override=settings.pooling or None)
    if not recipe.declared and recipe.task is not Task.CLASSIFY:
        log.warning("the model declares no recipe", pooling=recipe.pooling_name, normalize=True)
    specs = engine_specs(settings, resolved.folder, recipe, os.sched_getaffinity(0))
    # The tokenizing thread imports for both. What imports leave in a thread's heap would
    # lie between the device's tensors, and keep 100 MB of freed memory from being reused.
    text_tokenizer, tokenizer_runner = await _start(
        nursery, "tokenizer", partial(_tokenizer, settings, resolved, recipe, specs[0]), _encoding
    )
    # One after another: transformers keeps state of its own while it builds a model, and
    # each measures its speed undisturbed.
    started = [
        await _start(nursery, f"device {number}", partial(make_device, spec), _itself)
        for number, spec in enumerate(specs)
    ]
    devices, runners = [device for device, _ in started], [runner for _, runner in started]
    _require_agreement(devices)
    _require_tokens(text_tokenizer, devices[0])
    if devices[0].layout is not specs[0].layout:
        log.warning("the model cannot be packed", reason=devices[0].layout_reason)
    mark = await trio.to_thread.run_sync(_fingerprint, settings, resolved, recipe, devices[0])
    info = _info(resolved, recipe, devices, mark)
    _log_loaded(info)
    tokenizer = InlineRunner(text_tokenizer.is_brief, text_tokenizer.run, tokenizer_runner)
    return LoadedModel(info, recipe, text_tokenizer, devices, tokenizer, runners)


async def _fetch(settings: Settings) -> ResolvedModel:
    return await trio.to_thread.run_sync(
        partial(
            resolve_model,
            settings.model_path or None,
            settings.model_revision or None,
            settings.model_cache_dir,
            settings.trust_remote_code,
        ),
        abandon_on_cancel=True,  # a partial download is never taken for a complete one
    )


def _require_agreement(devices: Sequence[Device]) -> None:
    """Raise ModelError unless a request may go to any of ``devices``."""
    first = devices[0]
    for other in devices[1:]:
        for what in ("dimension", "outputs", "layout", "dtype", "vocabulary"):
            one, two = getattr(first, what), getattr(other, what)
            if one != two:
                raise ModelError(
                    f"DEVICE: {first.device} and {other.device} do not agree in {what}: {one} and "
                    f"{two} (one server needs devices that give the same vectors)"
                )


def _require_tokens(text_tokenizer: TextTokenizer, device: Device) -> None:
    """Raise ModelError unless ``device`` knows the tokens that texts are made of.

    Some that are added and mean nothing for texts may be missing: Gemma's tokenizer has
    one that stands for an image.
    """
    missing = missing_tokens(text_tokenizer, device)
    if not missing:
        return
    around = (*text_tokenizer.prefix, *text_tokenizer.suffix)
    if max(text_tokenizer.base_vocabulary - 1, *around) >= device.vocabulary:
        raise ModelError(
            f"the tokenizer has {text_tokenizer.vocabulary} tokens and the model only "
            f"{device.vocabulary}: they do not belong together"
        )
    log.warning(
        "the model does not know all tokens that its tokenizer adds: texts with one are refused, "
        "unless CONTROL_TOKENS names it",
        tokens=missing,
    )


def _info(
    resolved: ResolvedModel, recipe: Recipe, devices: Sequence[Device], mark: str
) -> ModelInfo:
    device = devices[0]
    return ModelInfo(
        model_id=resolved.model_id,
        fingerprint=mark,
        dimension=device.dimension,
        max_tokens=recipe.max_tokens,
        vocabulary=device.vocabulary,
        pooling=recipe.pooling_name if Output.POOLED in device.outputs else "",
        normalize=recipe.normalize,
        dtype=device.dtype,
        device=",".join(device.device for device in devices),
        batching=device.layout.value,
        batching_reason=device.layout_reason,
        prompts=dict(recipe.prompts),
        outputs=device.outputs,
        labels=recipe.named_labels(device.dimension) if Output.SCORES in device.outputs else (),
    )


def _log_loaded(info: ModelInfo) -> None:
    log.info(
        "model loaded",
        model=info.model_id,
        fingerprint=info.fingerprint,
        device=info.device,
        dtype=info.dtype,
        batching=info.batching,
        dimension=info.dimension,
        max_tokens=info.max_tokens,
        pooling=info.pooling,
        outputs=[str(output) for output in info.outputs],
    )


async def _start(
    nursery: trio.Nursery,
    name: str,
    make: Callable[[], T],
    executor_of: Callable[[T], Executor[In, Out]],
) -> tuple[T, WorkerThread[In, Out]]:
    """What ``make`` gives, made in a new thread, and the worker that goes on in that thread."""
    made: list[T] = []

    def make_in_thread() -> Executor[In, Out]:
        made.append(make())
        return executor_of(made[0])

    worker: WorkerThread[In, Out] = WorkerThread(name, make_in_thread)
    await nursery.start(worker.run)
    return made[0], worker


def _itself(device: Device) -> Executor[Batch, DeviceOutput]:
    return device


def _encoding(tokenizer: TextTokenizer) -> Executor[TokenizerWork, Sequence[Any]]:
    return Synchronous(tokenizer.run)


def _tokenizer(
    settings: Settings, resolved: ResolvedModel, recipe: Recipe, spec: EngineSpec
) -> TextTokenizer:
    import_device(spec)
    import_module("transformers")  # installs a log handler of its own
    route_library_logs()
    return TextTokenizer.load(
        resolved.folder / recipe.encoder_path,
        control_tokens=settings.control_tokens,
        lower_case=recipe.lower_case,
        trust_remote_code=settings.trust_remote_code,
    )


def _fingerprint(
    settings: Settings, resolved: ResolvedModel, recipe: Recipe, device: Device
) -> str:
    return fingerprint(
        resolved.folder,
        recipe,
        dtype=device.dtype,
        control_tokens=settings.control_tokens,
        exclude_tokens=settings.pooling_exclude_tokens,
        exclude_special=settings.pooling_exclude_special,
    )
