"""Header blocks that come again and again, decoded and checked once.

Internals touched (hpack is pinned exactly): ``Decoder.decode``, ``HeaderTable.add``.
"""

from collections.abc import Iterable
from typing import Final

from hpack.hpack import Decoder
from hpack.struct import HeaderTuple
from hpack.table import HeaderTable

from pipeline.grpc.http2.header_rules import CheckedHeaders

ENCODING: Final = "latin-1"  # it decodes any byte: headers that are not ASCII are no error
CACHED_BLOCKS: Final = 64  # of a connection; most clients need one or two
CACHED_BYTES: Final = 1024  # of one block


class CountingTable(HeaderTable):
    """hpack's table, which counts what is put in."""

    added = 0

    def add(self, name: bytes, value: bytes) -> None:
        """Put an entry in."""
        self.added += 1
        super().add(name, value)


class HeaderBlock(list[HeaderTuple]):
    """A decoded block, and the same as checked text. Not to be changed."""

    def __init__(self, raw: Iterable[HeaderTuple]) -> None:
        super().__init__(raw)
        self.checked = CheckedHeaders(
            (name.decode(ENCODING), value.decode(ENCODING)) for name, value in self
        )


class CachingDecoder(Decoder):
    """hpack's decoder, which remembers the blocks that leave its table as it is.

    A client's calls mostly have the same headers, which become the same block once
    they are in the table. Whatever changes the table makes it forget them all.
    """

    def __init__(self) -> None:
        super().__init__()
        self.header_table = self._table = CountingTable()
        self._cached: dict[bytes, HeaderBlock] = {}

    def decode(self, data: bytes, raw: bool = False) -> Iterable[HeaderTuple]:
        """See :meth:`hpack.Decoder.decode`; ``raw`` ones come as a :class:`HeaderBlock`."""
        if raw and (known := self._cached.get(data)) is not None:
            return known
        before = self._table.added, self._table.maxsize
        resizes = data[:1] and 0x20 <= data[0] < 0x40
        decoded = super().decode(data, raw)
        headers = HeaderBlock(decoded) if raw else decoded
        if resizes or before != (self._table.added, self._table.maxsize):
            self._cached.clear()
        elif isinstance(headers, HeaderBlock) and len(data) <= CACHED_BYTES:
            if len(self._cached) == CACHED_BLOCKS:
                self._cached.clear()
            self._cached[data] = headers
        return headers
