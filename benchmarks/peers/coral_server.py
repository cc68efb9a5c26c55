"""Starts coral-gpu-inference, with or without its bfloat16; runs in that peer's environment.

``python coral_server.py bfloat16|float32``, all else by its own environment
variables. It always loads in bfloat16, which CPUs without such units are slow in;
with ``float32`` that wish is dropped. Its HTTP health server would listen on all
addresses and is left out.
"""

import asyncio
import sys
from typing import Any

from coral_gpu_inference import grpc_server


def main() -> None:
    """Serve until SIGTERM."""
    if sys.argv[1] == "float32":
        load = grpc_server.load_model

        def load_as_stored(path: str, **_: Any) -> Any:
            return load(path)

        grpc_server.load_model = load_as_stored
    grpc_server.start_http_health_server = lambda *_: None
    asyncio.run(grpc_server.serve())


if __name__ == "__main__":
    main()
