"""URLs as they may be shown: without user names, passwords and queries."""

import re
from typing import Final

URL: Final = re.compile(r"\w[\w+.-]*://\S+")


def shown(url: str) -> str:
    """``url`` without credentials and query."""
    return re.sub(r"(?<=://)[^/]*@", "", url).partition("?")[0]


def all_shown(text: str) -> str:
    """``text`` with every URL in it as :func:`shown`."""
    return URL.sub(lambda found: shown(found[0]), text)
