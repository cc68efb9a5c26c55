"""Who may call, while the file of keys changes."""

import pytest
import trio
from structlog.testing import capture_logs

from pipeline.security.access import Access, keys_of
from pipeline.security.errors import SecurityFileError
from pipeline.security.key_ring import make_key
from pipeline.security.watched import LOOK_EVERY_S, keep_renewing
from stages.errors import InvalidInput, Unauthenticated

KEY, LINE = make_key("alice")
NEW_KEY, NEW_LINE = make_key("alice")
CHANGED = f"# of another size: a clock may be coarse\n{NEW_LINE}\n"


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "keys"
    path.write_text(f"{LINE}\n")
    return path


def refused(access, *headers):
    with pytest.raises(Unauthenticated) as caught:
        access.tenant(*headers)
    return str(caught.value)


def test_without_a_file_everybody_may_call():
    assert Access().tenant(None) == ""


def test_the_caller_is_the_name_of_its_key(file):
    assert Access(keys_of(file)).tenant(f"Bearer {KEY}") == "alice"


def test_a_certificate_that_is_needed_comes_first(file):
    access = Access(keys_of(file), lambda: False)
    assert refused(access, f"Bearer {KEY}") == "a client certificate is needed"
    assert refused(Access(None, lambda: False), None) == "a client certificate is needed"


def test_a_trusted_header_names_the_caller_in_place_of_the_key(file):
    access = Access(keys_of(file), header="x-tenant")
    assert access.tenant(f"Bearer {KEY}", None, "bob") == "bob"
    assert access.tenant(f"Bearer {KEY}") == "alice"
    assert Access(header="x-tenant").tenant(None, None, "bob") == "bob"
    assert Access().tenant(None, None, "bob") == ""  # nobody is trusted to say so
    with pytest.raises(Unauthenticated):
        access.tenant(None, None, "bob")


@pytest.mark.parametrize("name", ["", "a b", "a\n", "x" * 65, "é"])
def test_what_is_no_name_is_refused_and_not_repeated(name):
    with pytest.raises(InvalidInput, match=r"^x-tenant: must be 1 to 64 of A-Z") as caught:
        Access(header="x-tenant").tenant(None, None, name)
    assert not name or name not in str(caught.value)


def test_a_missing_and_a_wrong_key_are_told_the_same(file):
    access = Access(keys_of(file))
    assert refused(access, None) == refused(access, "Bearer wrong") == refused(access, None, "x")


def test_a_changed_file_counts_from_the_next_look(file):
    access = Access(keys_of(file))
    file.write_text(CHANGED)
    access.keys.renew()
    assert access.tenant(f"Bearer {NEW_KEY}") == "alice"
    assert refused(access, f"Bearer {KEY}")


def test_a_file_that_was_renamed_into_place_counts(file, tmp_path):
    access = Access(keys_of(file))
    (tmp_path / "next").write_text(CHANGED)
    (tmp_path / "next").rename(file)
    access.keys.renew()
    assert access.tenant(f"Bearer {NEW_KEY}") == "alice"


@pytest.mark.parametrize("text", ["", "no key at all\n", None])
def test_a_file_that_cannot_be_used_leaves_the_old_keys_in_force(file, text):
    access = Access(keys_of(file))
    file.unlink() if text is None else file.write_text(text)
    with capture_logs() as lines:
        access.keys.renew()
        access.keys.renew()
    (line,) = lines  # once a change, however often it is looked at
    assert (line["log_level"], line["setting"]) == ("error", "API_KEYS_FILE")
    assert "no key at all" not in line["error"]
    assert access.tenant(f"Bearer {KEY}") == "alice"


def test_a_file_that_cannot_be_read_stops_the_start(tmp_path):
    with pytest.raises(SecurityFileError, match=r"API_KEYS_FILE .*keys: No such file"):
        keys_of(tmp_path / "keys")
    (tmp_path / "keys").write_bytes(b"\xff\xfe")
    with pytest.raises(SecurityFileError, match="keys: not UTF-8"):
        keys_of(tmp_path / "keys")
    (tmp_path / "keys").write_text("x")
    with pytest.raises(SecurityFileError, match="keys: line 1 is not"):
        keys_of(tmp_path / "keys")


async def test_it_is_looked_at_every_two_seconds(file, nursery, mock_clock):
    access = Access(keys_of(file))
    nursery.start_soon(keep_renewing, [access.keys])
    await trio.testing.wait_all_tasks_blocked()
    file.write_text(CHANGED)
    with capture_logs() as lines:
        mock_clock.jump(LOOK_EVERY_S)
        while not lines:
            await trio.testing.wait_all_tasks_blocked()
    assert access.tenant(f"Bearer {NEW_KEY}") == "alice"
