"""Server reflection (v1 and v1alpha), by grpclib, for the services that are served."""

from collections.abc import Collection, Iterable
from typing import Any

from grpclib.reflection.service import ServerReflection

from pipeline.grpc.method import Method
from pipeline.grpc.route import Route


class _Named:
    """All that reflection needs of a service: its name."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __mapping__(self) -> dict[str, Any]:
        return {f"/{self._name}/": None}


def reflection_routes(services: Collection[str]) -> Iterable[Route]:
    """The methods by which a client may list ``services`` and their messages."""
    named = [_Named(name) for name in services]
    for service in ServerReflection.extend(named)[len(named) :]:
        for path, method in service.__mapping__().items():
            yield Route(Method(path, method.request_type, streaming=True), method.func)
