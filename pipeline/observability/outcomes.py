"""The outcome of a request, in one word."""

from typing import Final

from stages.errors import NotServing, Overloaded, TooLarge, TooLate
from stages.requests.answer import Answer, Outcome

CODES: Final = (
    "ok",
    "invalid_argument",
    "resource_exhausted",
    "unavailable",
    "deadline_exceeded",
    "unauthenticated",
    "unimplemented",
    "internal",
    "cancelled",
)
REASONS: Final = (
    "drain_time",
    "queued_tokens",
    "tokenizing",
    "latency",
    "deadline",
    "policy_error",
    "snapshot",
    "channel_full",
    "bridge",
    "streams",
    "held_bytes",
    "not_serving",
    "too_large",
)


def outcome_word(outcome: Outcome | None) -> str:
    """OK, an error's code, or CANCELLED where the caller went away."""
    if outcome is None:
        return "CANCELLED"
    return "OK" if isinstance(outcome, Answer) else outcome.code


def reason_of(outcome: Outcome | None) -> str | None:
    """The reason of a refusal; None for any other outcome."""
    if isinstance(outcome, Overloaded):
        return outcome.reason
    if isinstance(outcome, NotServing):
        return "not_serving"
    if isinstance(outcome, TooLate):
        return "deadline"
    return "too_large" if isinstance(outcome, TooLarge) else None
