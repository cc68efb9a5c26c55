"""The page itself: one answer that loads nothing else."""

from functools import cache
from importlib.resources import files
from typing import Final

POLICY: Final = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)
HEADERS: Final = {"content-security-policy": POLICY, "cache-control": "no-cache"}


@cache
def page() -> bytes:
    """The page as HTML, with its style and its script inside."""
    folder = files(__package__)
    text = (folder / "page.html").read_text("utf-8")
    for place, name in (("/*style*/", "page.css"), ("/*script*/", "page.js")):
        text = text.replace(place, (folder / name).read_text("utf-8"))
    return text.encode()
