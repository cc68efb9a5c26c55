"""How much the GPU benchmark measures."""

from typing import Final

from attrs import frozen


@frozen
class Extent:
    """How much is measured."""

    tokens: int = 2_000_000  # a contender, a round
    plain_tokens: int = 100_000
    rounds: int = 3
    singles: int = 200
    seconds: float = 3.0  # a closed loop


QUICK: Final = Extent(tokens=4096, plain_tokens=4096, rounds=1, singles=5, seconds=0.5)
