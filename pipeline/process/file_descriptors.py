"""File descriptors: as many as the connections may need."""

import resource
from typing import Final

import structlog

SPARE: Final = 128  # for files and what libraries open
PORTS: Final = 2  # each with as many connections

log = structlog.get_logger()


def allow_connections(connections: int) -> int:
    """Raise the process's own limit, as far as allowed, to ``connections`` on each port.

    Most systems start processes with 1,024 descriptors, which a server would use up long
    before MAX_CONNECTIONS refuses anybody. Returns how many connections each port may have:
    fewer if the system's limit is lower, so that health and files always find a descriptor.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = PORTS * connections + SPARE
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    if soft == resource.RLIM_INFINITY or soft >= PORTS * connections + SPARE:
        return connections
    fit = min(connections, max(soft - SPARE, soft // 2, PORTS) // PORTS)
    if fit < connections:
        log.warning("the limit of open files is low", limit=soft, max_connections=fit)
    return fit
