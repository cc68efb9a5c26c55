"""A modelled device that nothing goes wrong with."""

from simulations.server.modelled_device import ModelledDevice, device_runner
from simulations.world.faults import DeviceFaults
from stages.messages.batch import Layout


def sound_device(event_queue, cost, rng):
    """What runs one."""
    faults = DeviceFaults((), rng)
    device = ModelledDevice("cpu", Layout.PACKED, cost, rng, faults, max_tokens=1 << 30)
    return device_runner(event_queue, device)
