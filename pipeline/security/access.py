"""Who may call: every edge checks it before it reads a body."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

from attrs import frozen

from pipeline.security.errors import SecurityFileError
from pipeline.security.key_ring import KeyRing
from pipeline.security.watched import Watched, read_text
from pipeline.settings.tenant_kinds import NAME, NAME_ALLOWED
from stages.errors import InvalidInput, Unauthenticated

NOBODY: Final = ""  # the tenant where callers are not told apart


@frozen(eq=False)
class Access:
    """Who may call; without ``keys`` and ``is_certified`` everybody may. Any thread.

    ``is_certified`` says whether the current caller has shown a certificate, where the
    handshake does not require one but a route does. ``header`` is the header in which a
    trusted proxy names the caller; "" where there is none.
    """

    keys: Watched[KeyRing] | None = None
    is_certified: Callable[[], bool] = lambda: True
    header: str = ""

    def tenant(
        self, authorization: str | None, api_key: str | None = None, named: str | None = None
    ) -> str:
        """The account that a call runs on, by its headers ``authorization`` and ``x-api-key``.

        ``named`` is the value of ``header``, and takes precedence over the key's name.

        Raises:
            Unauthenticated: keys are on and this is not one of them, or the required
                certificate is missing.
            InvalidInput: ``named`` is not a valid name.
        """
        tenant = self._key_owner(authorization, api_key)
        if not self.header or named is None:
            return tenant
        if not NAME.fullmatch(named):
            raise InvalidInput(f"{self.header}: must be {NAME_ALLOWED}", field=self.header)
        return named

    def _key_owner(self, authorization: str | None, api_key: str | None) -> str:
        if not self.is_certified():
            raise Unauthenticated("a client certificate is needed")
        if self.keys is None:
            return NOBODY
        tenant = self.keys.value.tenant(authorization, api_key)
        if tenant is None:
            raise Unauthenticated("a valid API key is needed, as in authorization: Bearer KEY")
        return tenant


def keys_of(path: Path) -> Watched[KeyRing]:
    """The keys in a file.

    Raises:
        SecurityFileError: it cannot be used; the message names the setting.
    """
    return Watched("API_KEYS_FILE", [path], lambda: _read(path))


def _read(path: Path) -> KeyRing:
    try:
        return KeyRing.parse(read_text(path))
    except SecurityFileError as error:
        raise SecurityFileError(f"API_KEYS_FILE {path}: {error}") from None
