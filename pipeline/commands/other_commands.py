"""Commands that other packages add to ``penstock``.

A package announces them as entry points, and is imported when the command line is
parsed; so it has to be light to import.
"""

import argparse
from collections.abc import Mapping
from importlib.metadata import distribution
from typing import Final, Protocol

GROUP: Final = "penstock.commands"


class Command(Protocol):
    """A command."""

    @property
    def help(self) -> str:
        """One line."""
        ...

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add its arguments to ``parser``."""
        ...

    def run(self, options: argparse.Namespace) -> int:
        """Run it; returns the exit code."""
        ...


def other_commands() -> Mapping[str, Command]:
    """The commands that came with this distribution, by name."""
    found = distribution("penstock").entry_points.select(group=GROUP)
    return {point.name: point.load() for point in found}
