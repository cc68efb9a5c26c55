"""What torch's compiler is told where several devices use it."""

from typing import Final

import torch

DEVICES: Final = 64  # each compiles for itself, and all count as one function


def allow_compilations(each: int) -> None:
    """Let every device compile a function ``each`` times; what was allowed before stays allowed.

    And let it run uncompiled where another thread compiles. From torch 2.13 on both hold
    for the calling thread only.
    """
    config = torch._dynamo.config  # noqa: SLF001
    config.recompile_limit = max(config.recompile_limit, DEVICES * each)
    # While another device's engine is made, calls of what is compiled run as they are.
    config.error_on_nested_fx_trace = False
    config.accumulated_recompile_limit = max(
        config.accumulated_recompile_limit, config.recompile_limit
    )
