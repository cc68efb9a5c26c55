"""What a simulation is of: the traffic, the device, the faults and the limits."""

from attrs import field, frozen

from simulations.modelled import DeviceCost
from stages.admission_policies import AdmissionPolicy, ThroughputPolicy
from stages.batch_limits import BatchLimits
from stages.bucketing import buckets_for
from stages.messages import Layout


def cpu_limits(layout: Layout = Layout.PACKED) -> BatchLimits:
    """The batch limits of a server with default settings on a CPU."""
    return BatchLimits(
        layout=layout,
        buckets=buckets_for(512),
        max_items=512,
        max_tokens=32_768,
        max_batch_s=0.25,
        stale_after_s=0.05,
        min_delay_s=0.005,
        max_held_tokens=131_072,
    )


@frozen
class Scenario:
    """Everything that, with a seed, decides a simulation.

    Requests arrive as a Poisson process of ``rate_per_s``; lengths are lognormal
    (``log_mean``, ``log_spread``, in tokens), clipped to the model's maximum. A
    share brings token ids in place of texts, a share hangs up before its answer.
    ``crash_share`` is the chance that a message crashes the stage that handles it.
    """

    requests: int = 500
    rate_per_s: float = 40.0
    min_items: int = 1
    max_items: int = 8
    log_mean: float = 4.3
    log_spread: float = 0.8
    timeout_s: float = 30.0
    ids_share: float = 0.3
    hang_up_share: float = 0.0
    hang_up_after_s: float = 0.1
    crash_share: float = 0.0
    restarts: int = 1_000_000
    tokenizer_byte_s: float = 2e-7
    device: DeviceCost = field(factory=DeviceCost)
    limits: BatchLimits = field(factory=cpu_limits)
    policies: tuple[AdmissionPolicy, ...] = (ThroughputPolicy(2.0, 131_072),)
    door_capacity: int = 1024
    batch_capacity: int = 4
