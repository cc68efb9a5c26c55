"""File descriptors: as many as the connections may need."""

import resource
from typing import Final

SPARE: Final = 1024  # for HTTP, files and what libraries open


def allow_connections(connections: int) -> int:
    """Raise the process's own limit for so many connections, as far as the system lets it.

    Most systems start processes with 1,024, of which a server would use up all long
    before MAX_CONNECTIONS refuses anybody. Returns the limit that holds now.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + SPARE
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    return soft
