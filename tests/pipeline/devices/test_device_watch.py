"""When a device is given up, and when it is not: on a clock that is the test's."""

import pytest
from core_builders import batch_of, chunk_of, open_ticket, result_of
from hypothesis import given
from hypothesis import strategies as st

from pipeline.commands.serve import FAILED_WATCHDOG_S
from pipeline.devices.watch import IDLE_LOOK_EVERY_S, LOOK_EVERY_S, DeviceWatch
from pipeline.lifecycle import LAST_WORDS_S
from stages.load.cost_model import CostModel
from stages.load.device_load import DeviceLoad
from stages.requests.open_tickets import OpenTickets

HANG_S = 5.0
STICKY = RuntimeError("CUDA error: an illegal memory access was encountered")
PLAIN = RuntimeError("shapes do not fit")


@pytest.fixture
def watch():
    return DeviceWatch(2, HANG_S, max_failures=3)


@pytest.fixture
def batch():
    return batch_of(chunk_of(open_ticket(OpenTickets(), 1), [1]))


class Devices:
    """Two devices that are looked at as often as the server looks."""

    def __init__(self, watch, batch):
        self.watch, self.batch, self.now = watch, batch, 100.0
        self.cost = None
        self.loads = [DeviceLoad(), DeviceLoad()]
        self.watch.look(self.loads, self.cost, self.now)

    def launch(self, number=0):
        self.loads[number].launched(self.batch, self.now)

    def finish(self, number=0):
        self.loads[number].finished(self.batch, self.now)

    def wait(self, seconds, every_s=LOOK_EVERY_S):
        """Let time pass, with looks."""
        for _ in range(round(seconds / every_s)):
            self.now += every_s
            self.watch.look(self.loads, self.cost, self.now)


@pytest.fixture
def devices(watch, batch):
    return Devices(watch, batch)


def test_a_device_that_finishes_nothing_with_work_in_hand_hangs(devices, watch):
    devices.launch(1)
    devices.wait(HANG_S - 2 * LOOK_EVERY_S)
    assert watch.verdict is None
    devices.wait(5 * LOOK_EVERY_S)
    assert watch.verdict == "device 1 hangs: it has work, but has finished nothing for 5 s"


def test_a_batch_that_should_take_long_may_take_so_long_and_the_timeout(devices, watch):
    devices.cost = CostModel(20 * HANG_S, 0.0, 0.0)
    devices.launch()
    devices.wait(20.9 * HANG_S)
    assert watch.verdict is None
    devices.wait(0.2 * HANG_S)
    assert watch.verdict.startswith("device 0 hangs")


def test_a_device_without_work_may_be_silent(devices, watch):
    devices.wait(10 * HANG_S)
    devices.launch()
    devices.wait(HANG_S / 2)
    devices.finish()
    devices.wait(10 * HANG_S)
    assert watch.verdict is None


def test_work_that_comes_between_two_looks_of_an_idle_watch_has_its_whole_time(devices, watch):
    devices.wait(10 * HANG_S, every_s=IDLE_LOOK_EVERY_S)
    devices.now += 0.9 * IDLE_LOOK_EVERY_S
    devices.launch()
    devices.wait(HANG_S - LOOK_EVERY_S)
    assert watch.verdict is None
    devices.wait(4 * LOOK_EVERY_S)
    assert watch.verdict is not None


def test_a_batch_that_ends_is_a_sign_of_life_whatever_is_behind_it(devices, watch):
    devices.launch()
    for _ in range(20):
        devices.launch()
        devices.wait(HANG_S * 0.9)
        devices.finish()
    assert watch.verdict is None


def test_one_device_that_works_does_not_hide_another_that_hangs(devices, watch):
    devices.launch(0)
    devices.launch(1)
    for _ in range(round(HANG_S) + 1):
        devices.wait(1.0)
        devices.finish(1)
        devices.launch(1)
    assert watch.verdict.startswith("device 0 hangs")


def test_a_process_that_was_stopped_itself_has_heard_no_silence(devices, watch):
    devices.launch()
    devices.wait(3600.0, every_s=3600.0)
    assert watch.verdict is None
    devices.wait(HANG_S + LOOK_EVERY_S)
    assert watch.verdict is not None


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["launch", "finish", "wait"]),
            st.integers(0, 1),
            st.floats(0, HANG_S * 0.95),
        ),
        max_size=60,
    )
)
def test_devices_that_keep_finishing_are_never_given_up(steps):
    """Whatever is launched when, as long as no batch in hand waits for HANG_S."""
    ticket = open_ticket(OpenTickets(), 1)
    watch = DeviceWatch(2, HANG_S, max_failures=3)
    devices = Devices(watch, batch_of(chunk_of(ticket, [1])))
    for step, number, seconds in steps:
        if step == "launch":
            devices.launch(number)
        elif step == "finish" and devices.loads[number].batches:
            devices.finish(number)
        elif step == "wait":
            devices.wait(seconds)
            for other in (0, 1):  # both get on before the next wait
                if devices.loads[other].batches:
                    devices.finish(other)
                    devices.launch(other)
    assert watch.verdict is None


def test_an_error_that_leaves_it_unusable_is_enough(watch, batch):
    watch.ran(result_of(batch, vectors=None, error=STICKY))
    assert watch.verdict == "device 0 is lost: its last error leaves it unusable"


def test_failures_one_after_another_are_counted_and_a_success_ends_the_count(watch, batch):
    failed = result_of(batch, vectors=None, error=PLAIN)
    for result in (failed, failed, result_of(batch), failed, failed):
        watch.ran(result)
        assert watch.verdict is None
    watch.ran(failed)
    assert watch.verdict == "device 0 failed 3 batches one after another"


def test_the_first_reason_stays(watch, batch):
    watch.ran(result_of(batch, vectors=None, error=STICKY))
    watch.ran(result_of(batch, vectors=None, error=PLAIN))
    assert "is lost" in watch.verdict


def test_the_process_ends_within_five_seconds_of_the_verdict():
    assert IDLE_LOOK_EVERY_S + LAST_WORDS_S + FAILED_WATCHDOG_S < 5.0
