"""Bad requests, and what is expected of the refusal: said clearly, and nothing given away."""

import grpc
import pytest
from attrs import frozen

SECRET = "zanzibar"  # noqa: S105 - stands in texts; must not come back, nor reach the log
SECRET_IDS = [101, 27655, 27655, 102]
INVALID, TOO_LARGE = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.RESOURCE_EXHAUSTED


@frozen
class Bad:
    """A request, and the words its refusal must have: what, where, what is allowed."""

    name: str
    request: dict
    words: tuple[str, ...]
    status: grpc.StatusCode = INVALID


def named(rows):
    return pytest.mark.parametrize("bad", rows, ids=[row.name for row in rows])


def assert_refused(call, bad, log):
    """The call fails as the table says, and tells nobody what the text was."""
    with pytest.raises(grpc.RpcError) as refused:
        call(**bad.request)
    error = refused.value
    assert error.code() is bad.status, error.details()
    missing = [word for word in bad.words if word not in error.details()]
    assert not missing, error.details()
    for secret in (SECRET, "27655"):
        assert secret not in error.details()
        assert secret not in log.read_text()
