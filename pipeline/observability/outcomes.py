"""What became of a request, in one word."""

from stages.answer import Answer, Outcome


def outcome_word(outcome: Outcome | None) -> str:
    """OK, an error's code, or CANCELLED where the caller went away."""
    if outcome is None:
        return "CANCELLED"
    return "OK" if isinstance(outcome, Answer) else outcome.code
