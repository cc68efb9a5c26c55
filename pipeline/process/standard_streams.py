"""The standard streams, which whoever starts the command may have closed."""

import os
import sys
from typing import Final

STREAMS: Final = (("stdin", "r"), ("stdout", "w"), ("stderr", "w"))  # 0, 1 and 2


def open_standard_streams() -> None:
    """Open those that are closed on nothing, before any other file is opened.

    One of those would get the stream's number, and with it what libraries print.
    """
    while (number := os.open(os.devnull, os.O_RDWR)) < len(STREAMS):
        pass
    os.close(number)
    for number, (name, mode) in enumerate(STREAMS):
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, closefd=False))  # noqa: SIM115
