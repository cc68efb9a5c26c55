"""What one device has in hand, and when it last got on with it."""

from attrs import define

from stages.load.cost_model import NO_WORK, CostModel, Work
from stages.messages.batch import Batch


@define
class DeviceLoad:
    """The batches on one device. Clock-free; belongs to Trio's thread."""

    batches: int = 0
    work: Work = NO_WORK  # without padding
    progress_at: float = 0.0  # the last end of a batch, or the first launch after a pause

    def launched(self, batch: Batch, now: float) -> None:
        """The device was handed ``batch``."""
        if not self.batches:
            self.progress_at = now
        self.batches += 1
        self.work += batch.work

    def finished(self, batch: Batch, now: float) -> None:
        """The device gave ``batch`` back, or it was given up."""
        self.batches -= 1
        self.work -= batch.work
        self.progress_at = now

    def remaining_s(self, cost: CostModel, now: float) -> float:
        """How long the device still needs for what it has in hand, by ``cost`` of true work."""
        if not self.batches:
            return 0.0
        return max(0.0, self.progress_at + cost.seconds(self.work, self.batches) - now)

    def silent_s(self, cost: CostModel | None, now: float) -> float:
        """For how long work should have come back by ``cost``, and nothing has; 0 without any.

        One text may be long enough to take minutes. Without ``cost`` no time is allowed for.
        """
        if not self.batches:
            return 0.0
        needed_s = cost.seconds(self.work, self.batches) if cost is not None else 0.0
        return max(0.0, now - self.progress_at - needed_s)
