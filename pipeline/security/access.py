"""Who may call: what every face asks before it reads a body."""

from pathlib import Path
from typing import Final

from pipeline.security.errors import SecurityFileError
from pipeline.security.key_ring import KeyRing
from pipeline.security.watched import Watched, read_text
from stages.errors import Unauthenticated

NOBODY: Final = ""  # the tenant where callers are not told apart


class Access:
    """The keys of a file, or none: then everybody may call. Any thread.

    Raises:
        SecurityFileError: the file cannot be used; the message names it.
    """

    def __init__(self, keys_file: Path | None = None) -> None:
        self.keys: Watched[KeyRing] | None = None
        if keys_file is not None:
            self.keys = Watched("API_KEYS_FILE", [keys_file], lambda: _read(keys_file))

    def tenant(self, authorization: str | None, api_key: str | None = None) -> str:
        """On whose account a call runs, by its headers ``authorization`` and ``x-api-key``.

        Raises:
            Unauthenticated: keys are on, and this is none of them.
        """
        if self.keys is None:
            return NOBODY
        tenant = self.keys.value.tenant(authorization, api_key)
        if tenant is None:
            raise Unauthenticated("a valid API key is needed, as in authorization: Bearer KEY")
        return tenant


def _read(path: Path) -> KeyRing:
    text = read_text(path)
    try:
        return KeyRing.parse(text)
    except SecurityFileError as error:
        raise SecurityFileError(f"{path}: {error}") from None
