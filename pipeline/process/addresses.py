"""A server's addresses, as ``host:port``."""

from ipaddress import ip_address


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach ``host``."""
    if host == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False  # a name: it may lead anywhere


def joined(host: str, port: int) -> str:
    """``host:port``, with brackets around an IPv6 address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def reachable(address: str) -> str:
    """``address`` as a client on this machine reaches it: not every host can be dialled."""
    host, _, port = address.rpartition(":")
    if host in {"0.0.0.0", "", "*"}:  # noqa: S104 (compared, not bound)
        host = "127.0.0.1"
    if host in {"::", "[::]"}:
        host = "[::1]"
    return f"{host}:{port}"
