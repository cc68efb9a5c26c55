"""Which cores each device's thread runs on, and with how many threads it computes.

A device's thread is bound to its own cores (DEVICE_CPUS) before torch starts others for
it: they inherit that. Trio's thread, the edge's and the tokenizer's may run on all cores,
and so find one that is free beside a busy engine.
"""

from collections.abc import Collection
from pathlib import Path
from typing import Final

from attrs import frozen

from pipeline.settings.rows import rows
from pipeline.settings.table import SettingError, Settings

TOPOLOGY: Final = Path("/sys/devices/system/cpu")


@frozen
class Share:
    """A device's share of the processor. No ``cores``: any; 0 ``threads``: torch's choice."""

    cores: tuple[int, ...]
    threads: int


def check_cores(settings: Settings, source: str, available: Collection[int]) -> None:
    """Raise SettingError when DEVICE_CPUS (from ``source``) names a core that is not there.

    ``available`` are the cores that this process may run on.
    """
    missing = {core for cores in settings.device_cpus for core in cores} - set(available)
    if missing:
        (kind,) = (row.kind for row in rows() if row.field == "device_cpus")
        raise SettingError(
            f"DEVICE_CPUS={kind.show(settings.device_cpus)} ({source}) is not allowed: must be of "
            f"the cores {kind.show((tuple(sorted(available)),))}, which this process may run on"
        )


def shares(
    settings: Settings, available: Collection[int], topology: Path = TOPOLOGY
) -> tuple[Share, ...]:
    """The share of each device in DEVICE.

    DEVICE_THREADS, or else as many threads as there are cores for it: its own, or an
    equal part of those it shares with the other devices.
    """
    devices, sets = len(settings.device), settings.device_cpus
    own = sets if len(sets) == devices else sets * devices or ((),) * devices
    sharing = 1 if len(sets) == devices else devices
    return tuple(
        Share(
            cores or tuple(sorted(available)),
            settings.device_threads
            or max(1, physical_cores(cores or available, topology) // sharing),
        )
        for cores in own
    )


def physical_cores(cpus: Collection[int], topology: Path = TOPOLOGY) -> int:
    """How many of the cores ``cpus`` compute at a time: hyperthreads of one core count once.

    Two threads in the same core's arithmetic gain nothing in matrix products.
    """
    groups = set()
    for cpu in cpus:
        try:
            groups.add((topology / f"cpu{cpu}/topology/thread_siblings_list").read_text())
        except OSError:  # unknown on this machine: count it as a core of its own
            groups.add(str(cpu))
    return len(groups)
