"""Who goes before whom among those that wait: lane, tenant share, deadline, arrival."""

from collections.abc import Mapping

from attrs import field, frozen


@frozen
class Precedence:
    """The terms of the order.

    ``weights`` are the tenants' shares by name, 1 where there is none. A bulk item that
    has waited for ``bulk_aging_s`` counts as interactive. The queue *stands* when
    whatever leaves it has waited longer than ``standing_target_s`` for a whole
    ``standing_interval_s``: then the newest goes first, but for every fourth batch.
    """

    weights: Mapping[str, float] = field(factory=dict)
    bulk_aging_s: float = 5.0
    standing_target_s: float = 3.0
    standing_interval_s: float = 1.0
