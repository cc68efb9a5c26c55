"""File descriptors: as many as the connections may need."""

import resource
from typing import Final

import structlog

SPARE: Final = 1024  # for HTTP, files and what libraries open

log = structlog.get_logger()


def allow_connections(connections: int) -> int:
    """Raise the process's own limit for so many connections, as far as the system lets it.

    Most systems start processes with 1,024, of which a server would use up all long
    before MAX_CONNECTIONS refuses anybody. Returns how many there may be: fewer where the
    system does not let it, so that health and files always find a descriptor.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + SPARE
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    if soft == resource.RLIM_INFINITY or soft >= connections + SPARE:
        return connections
    fit = min(connections, max(soft - SPARE, soft // 2))
    if fit < connections:
        log.warning("the limit of open files is low", limit=soft, max_connections=fit)
    return fit
