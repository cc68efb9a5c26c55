"""What a client may call."""

from attrs import frozen
from google.protobuf.message import Message

from pipeline.interface.statuses import Api


@frozen(eq=False)
class Method:
    """One method: its path, and the type of its requests.

    A ``guarded`` method is work: it counts as in flight, has a deadline, and is refused
    before its body is read when the server cannot take it. A ``public`` method needs no
    API key.
    """

    path: str
    request: type[Message]
    streaming: bool = False
    guarded: bool = False
    public: bool = False
    api: Api = Api.PENSTOCK
