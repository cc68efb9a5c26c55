"""What has just been refused, so that requests like it can be refused at once.

A refusal for lack of room says when there will be some. Until then the same caller's
next request, if it is about as large and has about as much time, has no better chance:
it is refused as soon as its message is here, before it is decoded and handed in.

Requests of other callers or to other methods are not affected; the refusal of a bulk
request says nothing about interactive ones. A prediction may be wrong, so no refusal
counts for longer than ``LONGEST_S``.
"""

from typing import Final, TypeAlias

from attrs import define, field, frozen

from stages.errors import Overloaded, PenstockError, TooLate

LONGEST_S: Final = 0.05
FOR_WANT_OF_ROOM: Final = frozenset({"drain_time", "queued_tokens"})
AS_LARGE: Final = 0.8  # of the refused one's bytes: texts of equal tokens differ by that much
AS_LITTLE_TIME: Final = 0.9  # of the refused one's; with less, a request goes before others
REMEMBERED: Final = 256  # callers and methods

Caller: TypeAlias = tuple[str, str]  # the tenant and the path


@frozen
class Request:
    """What is known of a request before it is decoded."""

    caller: Caller
    size: int  # bytes
    time_left_s: float  # infinity: the caller waits for ever


@frozen
class Refusal:
    """One refusal, and how long it counts for others."""

    request: Request
    error: Overloaded | TooLate
    room_at: float
    until: float

    def speaks_for(self, request: Request, now: float) -> bool:
        """Whether ``request`` would be refused as well."""
        if now >= self.until or request.size < AS_LARGE * self.request.size:
            return False
        if isinstance(self.error, Overloaded):
            return True
        had_s, has_s = self.request.time_left_s, request.time_left_s
        return AS_LITTLE_TIME * had_s <= has_s < had_s + self.room_at - now

    def again(self, now: float) -> PenstockError:
        """The same refusal, now."""
        after_s = self.room_at - now
        if isinstance(self.error, Overloaded):
            return Overloaded(self.error.message, reason=self.error.reason, retry_after_s=after_s)
        return TooLate(self.error.message, retry_after_s=after_s)


@define
class RefusalCache:
    """The last refusal of each caller. Clock-free; belongs to one thread."""

    _last: dict[Caller, Refusal] = field(factory=dict)

    def note(self, request: Request, error: PenstockError, now: float) -> None:
        """``request`` of the interactive lane was refused."""
        if isinstance(error, TooLate) or (
            isinstance(error, Overloaded) and error.reason in FOR_WANT_OF_ROOM
        ):
            room_at = now + error.retry_after_s
            until = min(room_at, now + LONGEST_S)
            if len(self._last) >= REMEMBERED:
                self._last.clear()  # they count for a moment only
            self._last[request.caller] = Refusal(request, error, room_at, until)

    def knows(self, caller: Caller, now: float) -> bool:
        """Whether a refusal of ``caller`` counts for other requests of its now."""
        last = self._last.get(caller)
        return last is not None and now < last.until

    def refusal(self, request: Request, now: float) -> PenstockError | None:
        """Why ``request`` would be refused; None where that is not known."""
        last = self._last.get(request.caller)
        if last is None or not last.speaks_for(request, now):
            return None
        return last.again(now)
