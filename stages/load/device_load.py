"""What one device has in hand, and when it last got on with it."""

from attrs import define

from stages.load.cost_model import NO_WORK, CostModel, Work
from stages.messages import Batch


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

    def silent_s(self, now: float) -> float:
        """How long nothing has come back while there was work; 0 without any."""
        return now - self.progress_at if self.batches else 0.0
