"""What a pipeline is made of: everything that is decided before it opens."""

from collections.abc import Callable, Sequence

from attrs import frozen

from stages.execution import DeviceRunner
from stages.load.admission_policies import AdmissionPolicy
from stages.load.cost_model import CostModel
from stages.planner.batch_limits import BatchLimits
from stages.text.token_rules import TokenRules
from stages.tokenizing import TokenizerRunner


@frozen(eq=False)
class PipelinePlan:
    """Everything that is decided before the pipeline opens.

    ``door_capacity`` bounds the requests that wait to be admitted, ``batch_capacity`` the
    batches between batching and each of ``devices``.
    """

    rules: TokenRules
    limits: BatchLimits
    policies: Sequence[AdmissionPolicy]
    tokenizer: TokenizerRunner
    devices: Sequence[DeviceRunner]
    draw: Callable[[], float]  # uniform in [0, 1)
    door_capacity: int
    batch_capacity: int
    rate_alpha: float
    cost: CostModel | None  # a device's, measured in its warm-up; None while unknown
    latency_window_s: float
    latency_min_samples: int
    restarts: int
    restarts_window_s: float
