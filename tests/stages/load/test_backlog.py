"""The work that open requests have reserved."""

from hypothesis import given
from hypothesis import strategies as st

from stages.load.backlog import SLOT_S, Backlog
from stages.load.cost_model import NO_WORK, Work
from stages.requests.lane import Lane

REQUESTS = st.lists(
    st.tuples(
        st.sampled_from(Lane),
        st.sampled_from("ab"),
        st.floats(0.0, 60.0),
        st.builds(Work, st.integers(0, 100), st.integers(0, 100)),
    ),
    max_size=20,
)


@given(requests=REQUESTS, deadline=st.floats(0.0, 60.0))
def test_it_knows_what_is_reserved_for_whom_and_until_when(requests, deadline):
    backlog = Backlog()
    for lane, tenant, due, work in requests:
        backlog.change(lane, tenant, due, NO_WORK, work)
    assert backlog.total == sum((work for *_, work in requests), NO_WORK)
    bulk = [work for lane, *_, work in requests if lane is Lane.BULK]
    assert backlog.bulk == sum(bulk, NO_WORK)
    for name in "ab":
        tokens = sum(work.tokens for _, tenant, _, work in requests if tenant == name)
        assert backlog.tenants.get(name, 0) == tokens
    interactive = [(due, work) for lane, _, due, work in requests if lane is not Lane.BULK]
    surely = sum(work.tokens for due, work in interactive if due <= deadline - SLOT_S)
    at_most = sum(work.tokens for due, work in interactive if due <= deadline + SLOT_S)
    assert surely <= backlog.due_by(deadline) <= at_most


@given(REQUESTS)
def test_nothing_is_left_of_those_that_ended(requests):
    backlog = Backlog()
    for lane, tenant, due, work in requests:
        backlog.change(lane, tenant, due, NO_WORK, work)
    for lane, tenant, due, work in requests:
        backlog.change(lane, tenant, due, work, NO_WORK)
    assert backlog.total == backlog.bulk == NO_WORK
    assert backlog.tenants == {}
    assert backlog.due_by(100.0) == 0
