"""What time does to a connection, on a clock of the test's own."""

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from pipeline.grpc.http2.connection_age import ANNOUNCE_S, Action, ConnectionAge, Observation
from pipeline.grpc.http2.stall_timeout import SLOWEST_BYTES_PER_S, StallTimeout
from pipeline.grpc.limits import EdgeLimits

LIMITS = EdgeLimits(stall_timeout_s=10, keepalive_s=0)
CALM = Observation(greeted=True, received=100, unfinished=False, blocked=False, drained=100)
LOOK_EVERY_S = 0.25


def steps(age, until_s, sight=lambda now: CALM):
    """All that is due from 0 to ``until_s``: (when, what)."""
    found = []
    for look in range(int(until_s / LOOK_EVERY_S) + 1):
        now = look * LOOK_EVERY_S
        if (step := age.step(now, sight(now))) is not None:
            found.append((now, step))
    return found


def test_an_idle_connection_may_stay_for_ever():
    assert steps(ConnectionAge(LIMITS, 0, age_s=0), 10_000) == []


def test_a_connection_of_age_ends_in_two_phases_then_by_force():
    limits = evolve(LIMITS, max_connection_age_grace_s=5)
    found = steps(ConnectionAge(limits, 0, age_s=60), 100)
    assert [step for _, step in found] == [Action.ANNOUNCE, Action.FINISH, Action.CUT, Action.ABORT]
    times = [now for now, _ in found]
    assert times[0] == 60
    assert ANNOUNCE_S <= times[1] - times[0] < 1
    assert 5 <= times[2] - times[1] < 6


def test_one_that_never_greets_is_closed():
    found = steps(ConnectionAge(LIMITS, 0, age_s=0), 12, lambda now: evolve(CALM, greeted=False))
    assert found[0] == (10.0, Action.ABORT)


def test_one_that_stops_within_a_frame_is_closed():
    found = steps(ConnectionAge(LIMITS, 0, age_s=0), 12, lambda now: evolve(CALM, unfinished=True))
    assert found[0] == (10.0, Action.ABORT)


def test_one_that_sends_on_is_not():
    def sight(now):
        received = 100 + int(now * SLOWEST_BYTES_PER_S)
        return evolve(CALM, unfinished=True, received=received)

    assert steps(ConnectionAge(LIMITS, 0, age_s=0), 100, sight) == []


def test_one_that_does_not_read_is_closed_and_one_that_reads_slowly_is_not():
    def reader(bytes_per_s):
        return lambda now: evolve(CALM, blocked=True, drained=100 + int(now * bytes_per_s))

    for rate in (0, 1, SLOWEST_BYTES_PER_S // 2):
        found = steps(ConnectionAge(LIMITS, 0, age_s=0), 30, reader(rate))
        assert found[0][1] is Action.ABORT
    assert steps(ConnectionAge(LIMITS, 0, age_s=0), 100, reader(SLOWEST_BYTES_PER_S)) == []


def test_one_that_is_silent_is_pinged_and_closed_when_it_stays_silent():
    limits = evolve(LIMITS, keepalive_s=60)
    found = steps(ConnectionAge(limits, 0, age_s=0), 75)
    assert found[0] == (60.0, Action.PING)
    assert found[1] == (70.0, Action.ABORT)


def test_one_that_answers_its_pings_stays():
    def sight(now):
        return evolve(CALM, received=100 + 17 * int(now / 60.5))

    limits = evolve(LIMITS, keepalive_s=60)
    found = steps(ConnectionAge(limits, 0, age_s=0), 600, sight)
    assert {step for _, step in found} == {Action.PING}
    assert len(found) >= 9


@given(
    st.floats(1, 100),
    st.lists(st.tuples(st.floats(0.01, 1), st.integers(0, SLOWEST_BYTES_PER_S))),
)
def test_patience_lasts_as_long_as_the_bytes_are_worth(timeout_s, looks):
    patience, now, moved = StallTimeout(timeout_s, 0.0), 0.0, 0
    for pause_s, size in looks:
        now, moved = now + pause_s, moved + size
        if patience.is_over(now, moved):
            # Bytes may come too late to count in full, but never count for more.
            assert now >= timeout_s - 1e-6
            return
    assert now <= timeout_s + moved / SLOWEST_BYTES_PER_S + 1e-6
