"""How fast it is on a GPU."""

import time
from typing import Final

STARTED_AT: Final = time.monotonic()  # importing torch may take a minute, too
