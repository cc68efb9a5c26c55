"""How often one function may be compiled before the compiler gives up and runs it as it is."""

from typing import Final

import torch

DEVICES: Final = 64  # each compiles for itself, and all count as one function


def allow_compilations(each: int) -> None:
    """Let every device compile a function ``each`` times; what was allowed before stays allowed.

    From torch 2.13 on this holds for the calling thread only.
    """
    config = torch._dynamo.config  # noqa: SLF001
    config.recompile_limit = max(config.recompile_limit, DEVICES * each)
    config.accumulated_recompile_limit = max(
        config.accumulated_recompile_limit, config.recompile_limit
    )
