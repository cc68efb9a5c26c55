"""The ready line, and the addresses in it."""

import pytest

from pipeline.process.addresses import is_loopback, joined, reachable
from pipeline.process.ready_line import own_command, ready_line

EVERY_HOST = "0.0.0.0"  # noqa: S104 (only a name here)


def test_the_ready_line_of_a_protected_server_says_what_callers_need():
    line = ready_line("[::1]:1", "[::1]:2", tls=True, keys=True)
    assert line.endswith("HTTP https://[::1]:2/health - callers need TLS and an API key")
    assert ready_line("a:1", "b:2", keys=True).endswith(
        "http://b:2/health - callers need an API key"
    )


@pytest.mark.parametrize(
    ("bound", "dialled"),
    [
        (f"{EVERY_HOST}:1", "127.0.0.1:1"),
        ("[::]:1", "[::1]:1"),
        ("127.0.0.1:1", "127.0.0.1:1"),
        ("example.org:1", "example.org:1"),
    ],
)
def test_an_address_that_cannot_be_dialled_is_replaced(bound, dialled):
    assert reachable(bound) == dialled
    line = ready_line(bound, f"{EVERY_HOST}:2")
    assert f"gRPC {bound}" in line
    assert f'{own_command()} embed --target {dialled} "some text"' in line
    assert "http://127.0.0.1:2/health" in line
    assert "\n" not in line


def test_an_address_has_brackets_where_it_needs_them():
    assert joined("localhost", 1) == "localhost:1"
    assert reachable(joined("::1", 1)) == "[::1]:1"
    assert reachable(joined("::", 1)) == "[::1]:1"


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), (EVERY_HOST, False), ("db", False)],
)
def test_a_loopback_host_is_known(host, expected):
    assert is_loopback(host) is expected
