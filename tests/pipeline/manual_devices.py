"""Three devices whose batches a test finishes by hand."""

from core_builders import limits_of
from trio.testing import wait_all_tasks_blocked

ONE_ITEM = limits_of(max_items=1)


def open_jobs(device):
    return [job for job in device.jobs if not job.done]


def in_hand(devices):
    return [len(open_jobs(device)) for device in devices]


def finish(device):
    """Finish the batch that ``device`` runs."""
    device.run_batch(device.jobs.index(open_jobs(device)[0]))


async def finish_all(devices):
    """Finish what devices have, and what they get then."""
    while any(in_hand(devices)):
        for device in devices:
            if open_jobs(device):
                finish(device)
        await wait_all_tasks_blocked()


async def call(running, number=1):
    """Calls of one batch each."""
    names = [running.calls.ids(4) for _ in range(number)]
    await wait_all_tasks_blocked()
    return names
