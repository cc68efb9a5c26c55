"""API keys as a file holds them and as callers bring them."""

import hmac
from base64 import b64encode
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.security.errors import SecurityFileError
from pipeline.security.key_ring import KeyRing, make_key

DIGEST = sha256(b"secret").hexdigest()
OTHER = sha256(b"other").hexdigest()
RING = KeyRing.parse(f"# who may call\n\nalice:{DIGEST}\n  bob : {OTHER.upper()}  \n")


def test_a_key_that_was_made_is_known_by_its_line():
    key, line = make_key("team-a")
    assert KeyRing.parse(line).tenant(f"Bearer {key}") == "team-a"
    assert key not in line


def test_no_two_keys_are_alike():
    assert len({make_key("a")[0] for _ in range(100)}) == 100


@pytest.mark.parametrize("name", ["", "a b", "a:b", "x" * 65, "é", "a\n"])
def test_a_name_that_is_not_allowed_gets_no_key(name):
    with pytest.raises(ValueError, match="1 to 64 of"):
        make_key(name)


@pytest.mark.parametrize(
    ("authorization", "api_key", "tenant"),
    [
        ("Bearer secret", None, "alice"),
        ("bearer   other ", None, "bob"),
        (None, "secret", "alice"),
        ("Bearer other", "secret", "bob"),
        ("Bearer wrong", "secret", None),
        ("Basic secret", None, None),
        ("secret", None, None),
        ("Bearer", None, None),
        ("", None, None),
        (None, "", None),
        (None, None, None),
        ("Bearer " + DIGEST, None, None),
        ("Bearer s\ud800", None, None),
    ],
)
def test_whose_key_it_is(authorization, api_key, tenant):
    assert RING.tenant(authorization, api_key) == tenant


def test_one_name_may_have_two_keys():
    ring = KeyRing.parse(f"alice:{DIGEST}\nalice:{OTHER}")
    assert ring.tenant("Bearer secret") == ring.tenant("Bearer other") == "alice"


def test_no_key_is_none_even_where_the_empty_one_is_listed():
    ring = KeyRing.parse(f"nobody:{sha256(b'').hexdigest()}")
    assert ring.tenant(None) is None
    assert ring.tenant("Bearer ") is None


@pytest.mark.parametrize("key", ["secret", "other", "neither"])
def test_every_entry_is_compared_whichever_fits(monkeypatch, key):
    compared, compare = [], hmac.compare_digest

    def noting(one, other):
        compared.append(other.hex())
        return compare(one, other)

    monkeypatch.setattr(hmac, "compare_digest", noting)
    RING.tenant(f"Bearer {key}")
    assert compared == [DIGEST, OTHER]


@pytest.mark.parametrize(
    "line",
    ["secret", "alice:secret", f"al ice:{DIGEST}", f":{DIGEST}", f"alice:{DIGEST}0", "a:b:c"],
)
def test_a_line_that_is_no_entry_is_named_by_its_number_alone(line):
    with pytest.raises(SecurityFileError, match=r"^line 3 is not name:SHA-256") as caught:
        KeyRing.parse(f"# keys\nbob:{OTHER}\n{line}\n")
    assert line not in str(caught.value)


def test_a_key_that_stands_there_twice_is_refused():
    with pytest.raises(SecurityFileError, match="line 2 repeats a key"):
        KeyRing.parse(f"alice:{DIGEST}\nbob:{DIGEST}")


@pytest.mark.parametrize("text", ["", "\n\n", "# nothing yet\n"])
def test_a_file_without_keys_is_refused(text):
    with pytest.raises(SecurityFileError, match="holds no keys"):
        KeyRing.parse(text)


@given(st.text(max_size=200))
def test_any_text_is_a_ring_or_a_clear_error(text):
    try:
        ring = KeyRing.parse(text)
    except SecurityFileError:
        return
    assert ring.entries


@given(st.text(max_size=80) | st.none(), st.text(max_size=80) | st.none())
def test_whatever_a_caller_brings_is_answered(authorization, api_key):
    assert RING.tenant(authorization, api_key) in {None, "alice", "bob"}


def basic(user: str, password: str) -> str:
    return "Basic " + b64encode(f"{user}:{password}".encode()).decode()


def test_a_browser_may_bring_the_key_as_password_of_any_user():
    key, line = make_key("search")
    ring = KeyRing.parse(line)
    assert ring.tenant(basic("", key)) == "search"
    assert ring.tenant(basic("ann", key)) == "search"


@pytest.mark.parametrize(
    "header", ["Basic", "Basic !!", "Basic Og==", "Basic gICA", basic("k", "x")]
)
def test_what_a_browser_brings_may_be_no_key(header):
    _, line = make_key("search")
    assert KeyRing.parse(line).tenant(header) is None
