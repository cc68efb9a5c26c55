"""``penstock calibrate``: measures what work costs on this device, for the simulator.

The model is loaded with the settings in force and run in the device's own thread, as
when it serves, but for longer and on more shapes than a start has time for.
"""

import json
import os
import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Final

import numpy as np
import trio
from attrs import field, frozen

from pipeline.configuration.engine_specs import engine_specs
from pipeline.models.loaded_model import LoadedModel
from pipeline.models.loading import load_model
from pipeline.settings.table import Settings
from stages.device.calibration import BatchShape, measure, shapes_of
from stages.device.spec import Device, EngineSpec
from stages.load.cost_model import CostModel, CostSample
from stages.messages.batch import Batch, Layout
from stages.messages.chunk import Chunk
from stages.requests.open_tickets import OpenTickets

BUDGET_S: Final = 10.0


@frozen(eq=False)
class Calibration:
    """What was measured; ``facts`` tell of what, on which machine and with which versions."""

    facts: Mapping[str, object]
    samples: tuple[CostSample, ...]
    cost: CostModel = field(init=False)

    @cost.default
    def _fit(self) -> CostModel:
        return CostModel.fit(self.samples)

    def as_json(self) -> str:
        """The file that ``--output`` writes; :func:`read_cost` reads it."""
        samples = [
            {
                "tokens": sample.work.tokens,
                "squares": sample.work.squares,
                "measured_s": sample.seconds,
                "predicted_s": self.cost.seconds(sample.work),
            }
            for sample in self.samples
        ]
        document = {
            **self.facts,
            "cost": self.cost.as_dict(),
            "largest_relative_error": self.cost.largest_error(self.samples),
            "samples": samples,
        }
        return json.dumps(document, indent=2) + "\n"

    def as_table(self) -> str:
        """The samples and the coefficients, for people."""
        cost = self.cost
        lines = [f"{'tokens':>8} {'sum of length^2':>16} {'measured ms':>12} {'predicted ms':>13}"]
        for sample in self.samples:
            work, predicted_s = sample.work, cost.seconds(sample.work)
            lines.append(
                f"{work.tokens:8} {work.squares:16} "
                f"{sample.seconds * 1e3:12.3f} {predicted_s * 1e3:13.3f}"
            )
        lines.append(
            f"per batch {cost.fixed_s * 1e3:.3f} ms, per token {cost.token_s * 1e6:.3f} us, "
            f"per unit of length^2 {cost.square_s * 1e9:.3f} ns; "
            f"largest error {cost.largest_error(self.samples):.0%}"
        )
        return "\n".join(lines)


def read_cost(path: Path) -> CostModel:
    """The cost model in a file that ``penstock calibrate`` wrote.

    Raises:
        OSError: the file cannot be read.
        ValueError: it holds no cost model.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except RecursionError:
        raise ValueError(f"{path}: nested too deeply") from None
    cost = document.get("cost") if isinstance(document, dict) else None
    if not isinstance(cost, dict):
        raise ValueError(f"{path}: holds no cost model")  # noqa: TRY004 (it is the file's fault)
    return CostModel.from_dict(cost)


async def calibrate(settings: Settings, output: Path) -> None:
    """Measure, write ``output``, print a table.

    Raises what :func:`measured` raises, and OSError when the file cannot be written.
    """
    calibration = await measured(settings)
    await trio.Path(output).write_text(calibration.as_json(), encoding="utf-8")
    print(calibration.as_table())  # noqa: T201


async def measured(settings: Settings) -> Calibration:
    """Load the model that ``settings`` ask for and measure its (first) device.

    Raises what :func:`pipeline.models.loading.load_model` raises.
    """
    async with trio.open_nursery() as machines:
        loaded = await load_model(settings, machines)
        spec = engine_specs(settings, Path(), loaded.recipe, os.sched_getaffinity(0))[0]
        samples = await trio.to_thread.run_sync(_measure, spec, loaded)
        machines.cancel_scope.cancel()
    return Calibration(_facts(spec, loaded), tuple(samples))


def _measure(spec: EngineSpec, loaded: LoadedModel) -> list[CostSample]:
    """Wait for each batch in turn, in one of Trio's threads."""
    device = loaded.device
    captured = device.layout is Layout.PADDED and device.device.startswith("cuda")
    shapes = shapes_of(spec, longest=loaded.recipe.max_tokens, captured=captured)
    _run_in_trio(loaded, shapes[0])  # unmeasured: the first batch after a pause
    return measure(lambda shape: _run_in_trio(loaded, shape), shapes, BUDGET_S)


def _run_in_trio(loaded: LoadedModel, shape: BatchShape) -> float:
    return trio.from_thread.run(_seconds, loaded, shape)


async def _seconds(loaded: LoadedModel, shape: BatchShape) -> float:
    """How long the device is busy with a batch of this shape."""
    done = await loaded.device_runners[0].submit(_batch(loaded.device, shape)).wait()
    return done.finished_at - done.started_at


def _batch(device: Device, shape: BatchShape) -> Batch:
    """A batch of one request, for which nobody waits."""
    ticket = OpenTickets().open("", shape.texts, deadline=0.0, reply=lambda _: None, now=0.0)
    ids = shape.sample(device.vocabulary).ids
    chunk = Chunk(ticket, shape.length, ids, np.arange(shape.texts, dtype=np.int32))
    packed = device.layout is Layout.PACKED
    rows, width = (1, ids.tokens) if packed else (shape.texts, shape.length)
    return Batch(0, (chunk,), device.layout, rows, width)


def _facts(spec: EngineSpec, loaded: LoadedModel) -> dict[str, object]:
    info = loaded.info
    libraries = ("penstock", "torch", "transformers", "numpy")
    return {
        "model": info.model_id,
        "fingerprint": info.fingerprint,
        "device": loaded.device.device,
        "dtype": info.dtype,
        "batching": info.batching,
        "threads": spec.threads,
        "machine": platform.machine(),
        "versions": {"python": platform.python_version()}
        | {name: version(name) for name in libraries},
    }
