"""The kinds of DEVICE and DEVICE_CPUS: which devices, and which cores they run on."""

import re
from collections.abc import Iterator, Sequence
from itertools import groupby

from attrs import frozen

DEVICE = re.compile(r"auto|cpu|null|cuda(:\d{1,3})?")
CORES = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?")
MAX_CORES = 1 << 14


@frozen
class Devices:
    """Devices of one kind, separated by commas."""

    allowed: str = (
        "auto, or one or more of cpu, of null or of cuda:N (cuda is cuda:0), separated by commas: "
        "not of two kinds, and no cuda:N twice"
    )

    def parse(self, raw: object) -> tuple[str, ...]:
        """The value, or :class:`ValueError`."""
        parts = raw.split(",") if isinstance(raw, str) else raw
        if not isinstance(parts, list) or not all(isinstance(part, str) for part in parts):
            raise ValueError(raw)
        devices = tuple(part.strip() for part in parts)
        if not devices or not all(DEVICE.fullmatch(device) for device in devices):
            raise ValueError(raw)
        kinds = {device.partition(":")[0] for device in devices}
        if len(kinds) > 1 or (kinds == {"auto"} and len(devices) > 1):
            raise ValueError(raw)
        numbers = [int(device.partition(":")[2] or 0) for device in devices]
        if kinds == {"cuda"} and len(set(numbers)) < len(numbers):
            raise ValueError(raw)
        return devices

    def show(self, value: object) -> str:
        """The value as a string that ``parse`` takes back."""
        return ",".join(value) if isinstance(value, tuple) else str(value)


@frozen
class CpuSets:
    """A set of cores for all devices, or one for each; as sorted numbers."""

    allowed: str = (
        "numbers and spans of cores, as in 0-1 or 0,2-3; sets for several devices are separated "
        "by semicolons"
    )

    def parse(self, raw: object) -> tuple[tuple[int, ...], ...]:
        """The value, or :class:`ValueError`."""
        if isinstance(raw, list):
            return tuple(self._listed(part) for part in raw)
        if not isinstance(raw, str):
            raise TypeError(raw)
        if not raw.strip():
            return ()
        return tuple(tuple(sorted(set(_cores(part)))) for part in raw.split(";"))

    def show(self, value: object) -> str:
        """The value as a string that ``parse`` takes back."""
        if not isinstance(value, tuple):
            return str(value)
        return ";".join(",".join(_spans(cores)) for cores in value)

    def _listed(self, cores: object) -> tuple[int, ...]:
        """From an array of numbers in a TOML file."""
        if not isinstance(cores, list) or not cores:
            raise ValueError(cores)
        if not all(type(core) is int and 0 <= core < MAX_CORES for core in cores):
            raise ValueError(cores)
        return tuple(sorted(set(cores)))


def _cores(text: str) -> Iterator[int]:
    for part in text.split(","):
        match = CORES.fullmatch(part.strip())
        if match is None:
            raise ValueError(text)
        first, last = int(match[1]), int(match[2] or match[1])
        if not first <= last < MAX_CORES:
            raise ValueError(text)
        yield from range(first, last + 1)


def _spans(cores: Sequence[int]) -> Iterator[str]:
    for _, group in groupby(enumerate(cores), lambda pair: pair[1] - pair[0]):
        run = [core for _, core in group]
        yield str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}"
