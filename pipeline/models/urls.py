"""URLs as they may be shown: without the user name and password in them."""

import re


def shown(url: str) -> str:
    """``url`` without credentials and query."""
    return re.sub(r"(?<=://)[^/@]*@", "", url).partition("?")[0]
