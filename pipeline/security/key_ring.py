"""API keys: what the file holds, and whose key a caller brings.

The file has a line a key, ``name:SHA-256 in hex``, with blank lines and ``#`` comments
between. A name may stand there more than once, so that a key can be followed by the
next while both count.

A key is 32 random bytes, so one round of SHA-256 is enough: nobody tries 2^256 of
them, and what makes the hash of a password slow would only slow every call down.
"""

import hmac
import re
import secrets
from base64 import b64decode
from hashlib import sha256
from typing import Final

from attrs import frozen

from pipeline.security.errors import SecurityFileError

PREFIX: Final = "penstock_"  # by which scanners for lost secrets know a key
KEY_BYTES: Final = 32
NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
NAME_ALLOWED: Final = "1 to 64 of A-Z a-z 0-9 . _ -"
DIGEST: Final = re.compile(r"[0-9a-f]{64}")


@frozen
class KeyRing:
    """The keys that are accepted: each one's name (whose it is) and SHA-256."""

    entries: tuple[tuple[str, bytes], ...]

    @classmethod
    def parse(cls, text: str) -> "KeyRing":
        """The ring that a file's ``text`` holds.

        Raises:
            SecurityFileError: a line is no entry, a key stands there twice, or there is none.
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
                raise SecurityFileError(f"line {number} has a key that stands there already")
            found[bytes.fromhex(digest)] = name
        if not found:
            raise SecurityFileError("it holds no keys")
        return cls(tuple((name, digest) for digest, name in found.items()))

    def tenant(self, authorization: str | None, api_key: str | None = None) -> str | None:
        """The name of the key that a caller brings; None when it is not one of these.

        ``authorization`` is the header of that name (``Bearer KEY``, or what a browser
        makes of any user with the key as password), ``api_key`` the header ``x-api-key``;
        the first counts where both are there. The time it takes
        tells nothing of the keys: each is compared, and each to its end.
        """
        key = _key(authorization, api_key).encode("utf-8", "replace")
        digest, tenant = sha256(key).digest(), None
        for name, known in self.entries:
            if hmac.compare_digest(digest, known):
                tenant = name
        return tenant if key else None


def make_key(name: str) -> tuple[str, str]:
    """A new key, and its line for the file; the key itself stands nowhere.

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
