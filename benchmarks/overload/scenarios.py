"""What is asked of each server: loads, a spike, and a greedy caller."""

import math
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from attrs import frozen

from benchmarks.harness.child import Child
from benchmarks.overload.calls import Calls, Ending
from benchmarks.overload.contenders import Contender, Load, Worked
from benchmarks.overload.figures import (
    Window,
    admitted_latencies_s,
    goodput_per_s,
    jain,
    max_min_fair,
    offered_per_s,
    percentile,
    recovered_after_s,
)

DEADLINE_S: Final = 1.0
PATIENCE_S: Final = 3.0  # with calls that have no deadline, once no more are sent
NORMAL: Final = 1.5  # times the tail before the spike
GREEDY: Final = 10.0  # times its share


@frozen
class Extent:
    """How much is measured; all in seconds but ``loads``, which are shares of capacity."""

    loads: tuple[float, ...] = (0.5, 1.0, 2.0, 5.0, 10.0)
    ramp: float = 2.0  # until queues are as full as they get
    window: float = 10.0
    closed: float = 3.0
    calm: float = 8.0  # before the spike
    spike: float = 4.0
    after: float = 14.0


PEERS: Final = Extent(window=4.0, closed=2.0, calm=5.0, after=8.0)
QUICK: Final = Extent(
    loads=(0.5, 1.0, 10.0), ramp=1.5, window=4.0, closed=2.0, calm=4.0, spike=2.0, after=8.0
)


@frozen
class Asking:
    """A contender and the client that asks it."""

    contender: Contender
    client: Child
    load: Load
    extent: Extent

    def offer(
        self,
        callers: Sequence[Mapping[str, Any]],
        deadline_s: float | None = DEADLINE_S,
        seed: int = 1,
    ) -> tuple[Calls, dict[str, Any]]:
        """The calls of an open loop, and the client's and the device's own figures."""
        before, started = self.contender.running.worked(), time.perf_counter()
        answer = self.contender.ask(
            self.client,
            do="offer",
            items=self.load.items,
            tokens=self.load.tokens,
            callers=callers,
            deadline_s=deadline_s,
            patience_s=PATIENCE_S if deadline_s is None else deadline_s + 1.0,
            seed=seed,
        )
        took_s, calls = time.perf_counter() - started, Calls.of(answer)
        about: dict[str, Any] = {
            "client_cores": answer["client_cores"],
            "client_late_p99_ms": _ms(percentile(calls.lateness_s, 99)),
            "wasted_share": None,
        }
        after = self.contender.running.worked()
        if before is not None and after is not None:
            about |= of_device(after - before, took_s)
        return calls, about


def of_device(worked: Worked, seconds: float) -> dict[str, float]:
    """What a device did with so many seconds: whether it was slow, idle, or busy for nobody."""
    return {
        "wasted_share": worked.wasted / worked.tokens if worked.tokens else 0.0,
        "device_busy_share": worked.busy_s / seconds,
        "device_tokens_per_s": worked.tokens / worked.busy_s if worked.busy_s else 0.0,
    }


def capacity(asking: Asking) -> float:
    """Calls a second of a closed loop."""
    return asking.contender.closed_loop(asking.client, asking.load, asking.extent.closed)


def at_load(asking: Asking, calls_per_s: float, *, deadline: bool, seed: int = 1) -> dict[str, Any]:
    """One cell: a steady rate, with a deadline or without."""
    extent, deadline_s = asking.extent, DEADLINE_S if deadline else None
    window = Window(extent.ramp, extent.ramp + extent.window)
    caller = {"key": asking.contender.keys[0], "phases": [[calls_per_s, window.end_s]]}
    calls, about = asking.offer([caller], deadline_s, seed)
    limit_s = deadline_s or math.inf
    due = calls.due_within(window.start_s, window.end_s)
    admitted, refused = admitted_latencies_s(due, limit_s), due.with_ending(Ending.REFUSED)
    return about | {
        "offered_per_s": offered_per_s(calls, window),
        "goodput_per_s": goodput_per_s(calls, window, limit_s),
        "admitted_ms": {f"p{p}": _ms(percentile(admitted, p)) for p in (50, 99)},
        "refused_share": len(refused) / len(due),
        "refusal_ms": {f"p{p}": _ms(percentile(refused.latency_s, p)) for p in (50, 99)},
        "endings": {each.value: len(due.with_ending(each)) for each in Ending},
    }


def spike(asking: Asking, calls_per_s: float, times: float, seed: int = 2) -> dict[str, Any]:
    """Half of what the server can do, ``times`` of it for a while, and half again.

    ``calls_per_s`` is the capacity.
    """
    extent, calm = asking.extent, calls_per_s / 2
    phases = [[calm, extent.calm], [times * calls_per_s, extent.spike], [calm, extent.after]]
    caller = {"key": asking.contender.keys[0], "phases": phases}
    calls, about = asking.offer([caller], seed=seed)
    before = calls.due_within(0.0, extent.calm)
    calm_s = percentile(admitted_latencies_s(before, DEADLINE_S), 99)
    end_s = extent.calm + extent.spike
    recovered = recovered_after_s(calls, end_s, NORMAL * calm_s) if calm_s is not None else None
    return about | {"calm_p99_ms": _ms(calm_s), "recovered_after_s": recovered}


def fairness(asking: Asking, calls_per_s: float, seed: int = 3) -> dict[str, Any]:
    """One caller asks ten times its share, the others for their share; the first is greedy.

    No deadlines: near its full share a caller with little time loses some calls to its own
    bursts, alone on a server of that size as well. ``calls_per_s`` is the capacity, of
    which all have an equal share. What they should have got is reckoned by what the server
    did in all.
    """
    extent, keys = asking.extent, asking.contender.keys
    window, share = Window(extent.ramp, extent.ramp + 2 * extent.window), calls_per_s / len(keys)
    callers = [
        {"key": key, "phases": [[share * (1.0 if number else GREEDY), window.end_s]]}
        for number, key in enumerate(keys)
    ]
    calls, about = asking.offer(callers, None, seed)
    each = [calls.of_caller(number) for number in range(len(keys))]
    goodputs = [goodput_per_s(one, window) for one in each]
    due = [offered_per_s(one, window) for one in each]
    fair = max_min_fair(due, sum(goodputs))
    of_fair = [got / due if due else 0.0 for got, due in zip(goodputs, fair, strict=True)]
    return about | {
        "offered_per_s": due,
        "goodputs_per_s": goodputs,
        "of_fair_share": of_fair,
        "others_kept": min(of_fair[1:]),
        "jain": jain(of_fair),
    }


def _ms(seconds: float | None) -> float | None:
    """Milliseconds; None for what never came."""
    return None if seconds is None or math.isinf(seconds) else seconds * 1e3
