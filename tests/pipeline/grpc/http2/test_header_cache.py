"""Header blocks that came before are recalled, and only while they mean the same."""

import pytest
from h2.connection import H2Connection
from hpack.exceptions import HPACKError

from pipeline.grpc.http2.header_cache import CACHED_BLOCKS, CachingDecoder
from pipeline.grpc.trailers import hpack_block


def test_a_known_block_is_forgotten_when_the_table_changes():
    client, decoder = H2Connection().encoder, CachingDecoder()
    plain = [(b"a", b"1")]
    first = client.encode(plain)
    assert list(decoder.decode(first, raw=True)) == plain
    again = client.encode(plain)  # an index into the table
    assert list(decoder.decode(again, raw=True)) == plain
    assert decoder.decode(again, raw=True) is decoder.decode(again, raw=True)
    shifted = client.encode([(b"b", b"2")])
    decoder.decode(shifted, raw=True)
    assert list(decoder.decode(again, raw=True)) == [(b"b", b"2")]  # the same bytes, another entry


def test_a_table_emptied_and_opened_again_is_another_table():
    client, decoder = H2Connection().encoder, CachingDecoder()
    decoder.decode(client.encode([(b"a", b"1")]), raw=True)
    index = client.encode([(b"a", b"1")])
    decoder.decode(index, raw=True)
    client.header_table_size = 0
    client.header_table_size = 4096
    decoder.decode(client.encode([(b":method", b"POST")]), raw=True)
    with pytest.raises(HPACKError):
        decoder.decode(index, raw=True)


def test_it_remembers_no_more_than_a_few_blocks():
    decoder = CachingDecoder()
    for number in range(3 * CACHED_BLOCKS):
        decoder.decode(hpack_block([("n", str(number))]), raw=True)
    assert len(decoder._cached) <= CACHED_BLOCKS
    decoder.decode(hpack_block([("n", "x" * 2000)]), raw=True)
    assert all(len(block) < 1100 for block in decoder._cached)
