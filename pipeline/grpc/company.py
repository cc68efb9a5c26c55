"""Those who travel as one."""

from attrs import define

from pipeline.grpc.bridge import Bridge, Crossing


@define(eq=False)
class Company:
    """Those who wait for one crossing: it is abandoned when none of them does any more."""

    bridge: Bridge
    crossing: Crossing
    waiting: int

    def one_gives_up(self) -> None:
        """One of them waits no more."""
        self.waiting -= 1
        if not self.waiting:
            self.bridge.abandon(self.crossing)
