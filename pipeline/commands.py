"""Commands of other packages: what they add to ``penstock`` without its knowing them.

A package announces them as entry points, and is imported when the command line is
looked at; so it has to be light to import.
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
        """Say what it understands."""
        ...

    def run(self, options: argparse.Namespace) -> int:
        """Do it; returns the exit code."""
        ...


def other_commands() -> Mapping[str, Command]:
    """The commands that came with this distribution, by name."""
    found = distribution("penstock").entry_points.select(group=GROUP)
    return {point.name: point.load() for point in found}
