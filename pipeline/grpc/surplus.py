"""A connection above the limit: it is told so, and closed."""

import asyncio
from asyncio import BaseTransport, Transport
from typing import Final, cast

from h2.errors import ErrorCodes
from hyperframe.frame import GoAwayFrame, SettingsFrame

from pipeline.grpc.connection import CUT_OFF_S

WHY: Final = b"too many connections"
REFUSAL: Final = (
    SettingsFrame(0).serialize()
    + GoAwayFrame(0, error_code=ErrorCodes.ENHANCE_YOUR_CALM, additional_data=WHY).serialize()
)


class SurplusConnection(asyncio.Protocol):
    """Says GOAWAY: that no call has been taken, so each may be tried again, elsewhere."""

    def connection_made(self, transport: BaseTransport) -> None:
        """Say it, and be gone soon after, whether it is read or not."""
        refused = cast(Transport, transport)
        refused.write(REFUSAL)
        if refused.can_write_eof():
            refused.write_eof()
        asyncio.get_running_loop().call_later(CUT_OFF_S, refused.abort)
