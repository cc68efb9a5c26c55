"""API keys: what the file holds, and whose key a caller sends.

The file has one line per key, ``name:SHA-256 in hex``, with blank lines and ``#`` comments
between. A name may occur more than once, so that a key can be replaced by a new one while
both are valid.

A key is 32 random bytes, so one round of SHA-256 is enough: nobody can try 2^256 of them,
and a slow hash, as for passwords, would only slow every call down.
"""

import hmac
import re
import secrets
from base64 import b64decode
from hashlib import sha256
from typing import Final

from attrs import frozen

from pipeline.security.errors import SecurityFileError
from pipeline.settings.tenant_kinds import NAME, NAME_ALLOWED

PREFIX: Final = "penstock_"  # by which scanners for leaked secrets recognise a key
KEY_BYTES: Final = 32
DIGEST: Final = re.compile(r"[0-9a-f]{64}")


@frozen
class KeyRing:
    """The keys that are accepted: each one's name (whose it is) and SHA-256."""

    entries: tuple[tuple[str, bytes], ...]

    @classmethod
    def parse(cls, text: str) -> "KeyRing":
        """The ring that a file's ``text`` holds.

        Raises:
            SecurityFileError: a line is not an entry, a key occurs twice, or there is none.
        """
        found: dict[bytes, str] = {}
        for number, line in enumerate(text.splitlines(), 1):
            entry = line.strip()
            if not entry or entry.startswith("#"):
                continue
            name, _, digest = entry.partition(":")
            name, digest = name.strip(), digest.strip().lower()
            if not NAME.fullmatch(name) or not DIGEST.fullmatch(digest):
                raise SecurityFileError(
                    f"line {number} is not name:SHA-256, with a name of {NAME_ALLOWED} and 64 "
                    "hex digits"
                )
            if bytes.fromhex(digest) in found:
                raise SecurityFileError(f"line {number} repeats a key")
            found[bytes.fromhex(digest)] = name
        if not found:
            raise SecurityFileError("it holds no keys")
        return cls(tuple((name, digest) for digest, name in found.items()))

    def tenant(self, authorization: str | None, api_key: str | None = None) -> str | None:
        """The name of the key that a caller sends; None when it is not one of these.

        ``authorization`` is the header of that name (``Bearer KEY``, or what a browser
        makes of any user with the key as password), ``api_key`` the header ``x-api-key``;
        the first counts where both are there. The time it takes reveals nothing about the
        keys: each is compared, and each to its end.
        """
        key = _key(authorization, api_key).encode("utf-8", "replace")
        digest, tenant = sha256(key).digest(), None
        for name, known in self.entries:
            if hmac.compare_digest(digest, known):
                tenant = name
        return tenant if key else None


def make_key(name: str) -> tuple[str, str]:
    """A new key, and its line for the file; the key itself is stored nowhere.

    Raises:
        ValueError: ``name`` is not allowed.
    """
    if not NAME.fullmatch(name):
        raise ValueError(f"a key's name must be {NAME_ALLOWED}")
    key = PREFIX + secrets.token_urlsafe(KEY_BYTES)
    return key, f"{name}:{sha256(key.encode()).hexdigest()}"


def _key(authorization: str | None, api_key: str | None) -> str:
    if authorization is None:
        return (api_key or "").strip()
    scheme, _, credentials = authorization.strip().partition(" ")
    if scheme.lower() == "bearer":
        return credentials.strip()
    return _password(credentials) if scheme.lower() == "basic" else ""


def _password(credentials: str) -> str:
    """The password of HTTP's Basic scheme (RFC 7617); "" where it is malformed."""
    try:
        return b64decode(credentials, validate=True).decode().partition(":")[2]
    except ValueError:
        return ""
