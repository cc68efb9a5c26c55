"""Those who travel as one."""

from attrs import define

from pipeline.grpc.thread_bridge import Bridge, BridgedRequest


@define(eq=False)
class CoalescingGroup:
    """Those who wait for one request: it is abandoned when none of them does any more."""

    bridge: Bridge
    bridged: BridgedRequest
    waiting: int

    def one_gives_up(self) -> None:
        """One of them waits no more."""
        self.waiting -= 1
        if not self.waiting:
            self.bridge.abandon(self.bridged)
