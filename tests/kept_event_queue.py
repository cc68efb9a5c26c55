"""An event queue for tests whose clock knows of none, and a device that runs by one."""

import trio

from simulations.event_queue import EventQueue
from simulations.faults import DeviceFaults
from simulations.modelled_device import ModelledDevice, device_runner
from stages.messages import Layout


class KeptEventQueue(EventQueue):
    """Kept by a task, in place of a simulation's clock."""

    def __init__(self):
        super().__init__()
        self._sleep = trio.CancelScope()

    def at(self, when, do):
        self._sleep.deadline = min(self._sleep.deadline, when)
        return super().at(when, do)

    async def run(self):
        """Keep it until cancelled."""
        while True:
            self.run_until(trio.current_time())
            with trio.CancelScope(deadline=self.next_at) as self._sleep:
                await trio.sleep_forever()


def modelled_device(event_queue, cost, rng):
    """A device that nothing goes wrong with."""
    faults = DeviceFaults((), rng)
    device = ModelledDevice("cpu", Layout.PACKED, cost, rng, faults, max_tokens=1 << 30)
    return device_runner(event_queue, device)
