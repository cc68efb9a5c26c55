"""The simulated server, and what its clients note."""

from collections.abc import Callable, Sequence
from typing import Final

from attrs import define, field, frozen

from benchmarks.overload.calls import Calls, Ending
from benchmarks.overload.contenders import Load
from pipeline.settings.table import Settings
from simulations.simulation import simulate
from simulations.world.arrivals import Arrival, Recorded
from simulations.world.calls import Call
from simulations.world.drift import Drift
from simulations.world.scenario import Clients, DeviceModel, Host, Scenario
from stages.errors import DeadlineExceeded, NotServing, Overloaded
from stages.load.cost_model import CostModel
from stages.requests.answer import Answer, Outcome

MODEL_TOKENS: Final = 512
ANSWERING: Final = 1 / 3  # of the interpreter's time for a call, which comes after the device's


@frozen
class Measured:
    """What the simulated server is made of."""

    cost: CostModel  # of the device, at that moment
    host_s: float  # of a call beside the device
    interpreter_s: float = 0.0  # of that, what one call takes from the others
    jitter: float = 0.0  # of a batch, as a share
    drift: Drift | None = None  # of the device, at that moment


@define(eq=False)
class Recorder:
    """A listener that notes how every call ended, as the real client does."""

    due_s: list[float] = field(factory=list)
    ended_s: list[float] = field(factory=list)
    ending: list[str] = field(factory=list)

    def arrived(self, call: Call, now: float) -> None:
        """See :class:`simulations.world.calls.Listener`."""

    def heard(self, call: Call, outcome: Outcome, now: float, *, final: bool) -> None:
        """See :class:`simulations.world.calls.Listener`."""
        del final
        self.due_s.append(call.at_s)
        self.ended_s.append(now)
        self.ending.append(ending_of(outcome).value)

    def hung_up(self, call: Call, now: float) -> None:
        """See :class:`simulations.world.calls.Listener`."""

    def calls(self) -> Calls:
        """All of them."""
        return Calls.of(
            {
                "due_s": self.due_s,
                "sent_s": self.due_s,
                "ended_s": self.ended_s,
                "ending": self.ending,
                "caller": [0] * len(self.due_s),
            }
        )


def ending_of(outcome: Outcome) -> Ending:
    """What a client would call it."""
    if isinstance(outcome, Answer):
        return Ending.OK
    if isinstance(outcome, Overloaded | NotServing):
        return Ending.REFUSED
    return Ending.EXPIRED if isinstance(outcome, DeadlineExceeded) else Ending.FAILED


def simulated(
    due_s: Sequence[float],
    found: Measured,
    load: Load,
    seed: int = 1,
    write_trace: Callable[[str], object] | None = None,
) -> Calls:
    """The calls that were due then, to a simulated server.

    ``write_trace`` is given a trace file, piece by piece.
    """
    lengths = (load.tokens,) * load.items
    interpreter_s = min(found.interpreter_s, found.host_s)
    arrivals = Recorded(tuple(Arrival(at_s, lengths) for at_s in due_s))
    callers = Clients("callers", arrivals)
    scenario = Scenario(
        max(due_s) + 1.0,
        (callers,),
        max_tokens=MODEL_TOKENS,
        server=Settings(device=("cpu",)),
        device=DeviceModel(found.cost, found.jitter, found.drift),
        host=Host(
            call_s=(1.0 - ANSWERING) * interpreter_s,
            answer_s=ANSWERING * interpreter_s,
            trip_s=found.host_s - interpreter_s,
            byte_s=0.0,
        ),
    )
    recorder = Recorder()
    report = simulate(scenario, seed=seed, listeners=[recorder], write_trace=write_trace)
    if report.violations.total:
        raise RuntimeError(f"the simulation failed: {report.violations.sentences[0]}")
    return recorder.calls()
