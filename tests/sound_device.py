"""A modelled device that nothing goes wrong with."""

from simulations.faults import DeviceFaults
from simulations.modelled_device import ModelledDevice, device_runner
from stages.messages import Layout


def sound_device(event_queue, cost, rng):
    """What runs one."""
    faults = DeviceFaults((), rng)
    device = ModelledDevice("cpu", Layout.PACKED, cost, rng, faults, max_tokens=1 << 30)
    return device_runner(event_queue, device)
