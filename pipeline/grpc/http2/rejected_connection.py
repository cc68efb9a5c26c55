"""A connection above the limit: it is closed before it has become one.

A GOAWAY after SETTINGS would be politer. But gRPC's clients take what sends SETTINGS for a
server that works: they come again at once and without end (46 times a second, seen from
grpcio), while their calls wait for the deadline. One that is closed has failed to connect:
calls fail with UNAVAILABLE, and the next attempt waits.
"""

import asyncio
from asyncio import BaseTransport, Transport
from typing import cast


class RejectedConnection(asyncio.Protocol):
    """Is gone as soon as it is there."""

    def connection_made(self, transport: BaseTransport) -> None:
        """Close it; over TLS without waiting for the client's own end."""
        cast(Transport, transport).abort()
