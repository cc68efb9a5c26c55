"""Who may call: what every edge asks before it reads a body."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

from attrs import frozen

from pipeline.security.errors import SecurityFileError
from pipeline.security.key_ring import NAME, NAME_ALLOWED, KeyRing
from pipeline.security.watched import Watched, read_text
from stages.errors import InvalidInput, Unauthenticated

NOBODY: Final = ""  # the tenant where callers are not told apart


@frozen(eq=False)
class Access:
    """Who may call; without ``keys`` and ``is_certified`` everybody may. Any thread.

    ``is_certified`` says whether the caller of the moment has shown a certificate, where
    the handshake does not ask for one but a route does. ``header`` names the caller, where
    a proxy in front is trusted to write it; "" where none is.
    """

    keys: Watched[KeyRing] | None = None
    is_certified: Callable[[], bool] = lambda: True
    header: str = ""

    def tenant(
        self, authorization: str | None, api_key: str | None = None, named: str | None = None
    ) -> str:
        """On whose account a call runs, by its headers ``authorization`` and ``x-api-key``.

        ``named`` is what its ``header`` says, and goes before the name of the key.

        Raises:
            Unauthenticated: keys are on, and this is none of them; or the certificate that
                is needed is not there.
            InvalidInput: ``named`` is no name.
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
