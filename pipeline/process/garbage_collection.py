"""Python's garbage collector, set for a server that has loaded all it needs.

By default the collector looks at young objects every 700 allocations, which is
every few calls, and all calls in flight are among them; now and then it walks
through everything that torch has imported. A call leaves few cycles behind, so
looking seldom is enough. Every 10,000 allocations took 6% less processor time per small
call (``benchmarks.edge``, 16 at once), but a server grew by 11 MiB over 100,000 calls
(``benchmarks.soak``); with 2,000 it grows by 6.
"""

import gc
from typing import Final

YOUNG_OBJECTS: Final = 2_000  # allocations between two looks


def settle() -> None:
    """Keep existing objects for good, and look at new ones less often. Process-wide."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, *gc.get_threshold()[1:])
