"""What one call keeps waiting, counted twice: on its connection and in the whole server."""

from pipeline.grpc.connection_memory import ConnectionMemory
from pipeline.overload.request_memory import MemoryShare
from stages.errors import Overloaded


class CallMemory:
    """Its ``bytes``: messages until they are answered, and answers until they have left.

    ``connection`` counts its connection's, ``share`` what the call has of the server's.
    """

    def __init__(self, connection: ConnectionMemory, share: MemoryShare) -> None:
        self._connection = connection
        self._share = share
        self.bytes = 0

    def hold(self, size: int, own: int = 0) -> None:
        """Keep so many bytes until :meth:`let_go`, or the end of the call.

        ``own`` bytes are kept for the same already: alone on its connection it may keep more.

        Raises:
            Overloaded: too much waits on this connection, or in the server, already.
        """
        self._share.take(size)
        try:
            self.expect(size, own)
        except Overloaded:
            self._share.give_back(size)
            raise

    def let_go(self, size: int) -> None:
        """Keep so many bytes no more."""
        self._share.give_back(size)
        self._connection.give_back(size)
        self.bytes -= size

    def expect(self, size: int, own: int = 0) -> None:
        """Keep room on the connection for so many bytes, which are still to come.

        Raises:
            Overloaded: too much waits on this connection already.
        """
        self._connection.take(size, own)
        self.bytes += size

    def came(self, size: int) -> None:
        """So many of those expected have come.

        Raises:
            Overloaded: too much waits in the server already.
        """
        self._share.take(size)

    def close(self) -> None:
        """The call is over."""
        self._share.close()
        self._connection.give_back(self.bytes)
        self.bytes = 0
