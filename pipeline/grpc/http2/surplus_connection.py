"""A connection above the limit: it is closed before HTTP/2 begins.

A GOAWAY after SETTINGS would be politer. But gRPC's clients take whatever sends SETTINGS
for a working server: they come back at once and without end (grpcio 46 times a second),
while their calls wait for the deadline. If it is closed instead, they have failed to
connect: calls fail with UNAVAILABLE, and the next attempt waits.
"""

import asyncio
from asyncio import BaseTransport, Transport
from typing import cast


class SurplusConnection(asyncio.Protocol):
    """Closes as soon as it is opened."""

    def connection_made(self, transport: BaseTransport) -> None:
        """Close it; over TLS without waiting for the client's own end."""
        cast(Transport, transport).abort()
