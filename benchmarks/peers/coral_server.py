"""Starts coral-gpu-inference, with or without its bfloat16; runs in that peer's environment.

``python coral_server.py bfloat16|float32 admit-all|as-shipped``, all else by its own
environment variables. It always loads in bfloat16, which CPUs without such units are
slow in; with ``float32`` that wish is dropped. Admission control cannot be switched
off, so with ``admit-all`` its limits are lifted: no call of a closed loop shall be
refused. Its HTTP health server would listen on all addresses and is left out.
"""

import asyncio
import math
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
    configure = grpc_server.InferenceConfig

    def admit_all() -> Any:
        config = configure()
        config.backpressure.throughput.max_queue_drain_time_ms = math.inf
        config.backpressure.throughput.max_queued_tokens = 1 << 40
        return config

    if sys.argv[2] == "admit-all":
        grpc_server.InferenceConfig = admit_all
    grpc_server.start_http_health_server = lambda *_: None
    asyncio.run(grpc_server.serve())


if __name__ == "__main__":
    main()
