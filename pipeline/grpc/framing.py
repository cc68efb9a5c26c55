"""gRPC's framing: a prefix of five bytes before each message."""

import struct
from typing import Final

from google.protobuf.message import Message

PREFIX: Final = struct.Struct(">?I")  # compressed, bytes that follow


def framed(message: Message) -> bytes:
    """``message`` as it goes over the wire, behind its prefix."""
    return prefixed(message.SerializeToString())


def prefixed(data: bytes) -> bytes:
    """A serialised message behind its prefix."""
    return PREFIX.pack(False, len(data)) + data
