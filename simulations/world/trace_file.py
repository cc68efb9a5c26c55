"""A trace file (TRACE_FILE) as the value of a scenario's key."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from attrs import frozen

from simulations.world.scenario_errors import InvalidValue


@frozen
class TraceFile:
    """A trace that the server wrote, or a simulation: the ``things`` that ``found`` finds in it."""

    things: str  # for people
    found: Callable[[str], tuple[Any, ...]]

    def read(self, raw: object, folder: Path) -> tuple[Any, ...]:
        """What is in it; at least one thing."""
        if not isinstance(raw, str):
            raise InvalidValue("must be the name of a trace file")
        try:
            found = self.found((folder / raw).read_text("utf-8"))
        except OSError as error:
            raise InvalidValue(f"{raw}: {error.strerror or error}") from None
        except (KeyError, TypeError, ValueError):
            raise InvalidValue(f"{raw} is not a trace that a server wrote") from None
        if not found:
            raise InvalidValue(f"{raw} holds no {self.things}")
        return found
