"""The bytes that one call keeps, counted twice: on its connection and in the whole server."""

from pipeline.grpc.connection_memory import ConnectionMemory
from pipeline.overload.request_memory import MemoryShare
from stages.errors import Overloaded


class CallMemory:
    """``bytes``: messages until they are answered, and answers until they have left.

    ``connection`` counts those of the connection, ``share`` the call's part of the server's.
    """

    def __init__(self, connection: ConnectionMemory, share: MemoryShare) -> None:
        self._connection = connection
        self._share = share
        self.bytes = 0

    def hold(self, size: int, own: int = 0) -> None:
        """Keep ``size`` bytes until :meth:`let_go`, or the end of the call.

        ``own`` bytes are kept already for the same request: if nothing else is kept on its
        connection, it may keep more than the limit.

        Raises:
            Overloaded: too much is kept already on this connection, or in the server.
        """
        self._share.take(size)
        try:
            self.expect(size, own)
        except Overloaded:
            self._share.give_back(size)
            raise

    def let_go(self, size: int) -> None:
        """Give ``size`` bytes back."""
        self._share.give_back(size)
        self._connection.give_back(size)
        self.bytes -= size

    def expect(self, size: int, own: int = 0) -> None:
        """Keep room on the connection for ``size`` bytes that are still to come.

        Raises:
            Overloaded: too much is kept already on this connection.
        """
        self._connection.take(size, own)
        self.bytes += size

    def came(self, size: int) -> None:
        """``size`` of the expected bytes have come.

        Raises:
            Overloaded: too much is kept already in the server.
        """
        self._share.take(size)

    def close(self) -> None:
        """The call is over."""
        self._share.close()
        self._connection.give_back(self.bytes)
        self.bytes = 0
