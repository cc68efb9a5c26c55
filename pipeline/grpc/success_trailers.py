"""The last header block of a successful call, with a load report where that is wanted."""

from base64 import b64encode
from typing import Final

from attrs import frozen

from pipeline.grpc.trailers import hpack_block
from pipeline.interface.status import StatusBoard
from pipeline.overload.load_report import TRAILER, LoadReport

OK_TRAILERS: Final = (("grpc-status", "0"),)


@frozen(eq=False)
class EncodedTrailers:
    """Trailers, and their HPACK block, which may be sent on any connection at any time."""

    trailers: tuple[tuple[str, str], ...]
    block: bytes

    @classmethod
    def of(cls, *trailers: tuple[str, str]) -> "EncodedTrailers":
        """Encode these trailers."""
        return cls(trailers, hpack_block(trailers))


PLAIN: Final = EncodedTrailers.of(*OK_TRAILERS)


class SuccessTrailers:
    """The trailers that calls end with; with ``board`` they say how loaded the server is.

    The block is made once for each state that the server publishes. Belongs to asyncio's
    thread.
    """

    def __init__(self, board: StatusBoard | None = None) -> None:
        self._board = board
        self._report: LoadReport | None = None
        self._encoded = PLAIN

    @property
    def now(self) -> EncodedTrailers:
        """The trailers as of now."""
        if self._board is None:
            return PLAIN
        report = self._board.snapshot.report
        if report is not self._report:
            told = b64encode(report.encoded()).rstrip(b"=").decode()
            self._report, self._encoded = report, EncodedTrailers.of(*OK_TRAILERS, (TRAILER, told))
        return self._encoded
