"""The whole server over gRPC, in turn with the engine alone."""

import statistics
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import distributions
from typing import Any, Final

from benchmarks.gpu.subject import PACKED, Subject
from benchmarks.harness.measure import interleaved, ratio
from stages.threads.worker import QUIET_S

CALLS: Final = (("512", "penstock, ids"), ("512", "penstock"),
                ("50", "penstock, ids, float16"), ("50", "penstock, float16"))  # fmt: skip
SERVER_NEEDS: Final = (
    "grpclib", "grpcio", "h2", "hypercorn", "orjson", "penstock", "prometheus-client", "protobuf",
    "starlette",
)  # fmt: skip
CALL_TEXTS: Final = 64
CLIENTS: Final = 16


def end_to_end(subject: Subject, found: dict[str, Any]) -> dict[str, Any]:
    """Tokens a second over gRPC, in turn with the engine alone; ``found`` is filled with it."""
    installed = {str(each.name).lower().replace("_", "-") for each in distributions()}
    if missing := [name for name in SERVER_NEEDS if name not in installed]:
        raise RuntimeError(f"left out: {', '.join(missing)} not installed")
    from benchmarks.harness.child import running_child  # noqa: PLC0415 - not everywhere
    from benchmarks.harness.server_process import ADMIT_ALL, running_server  # noqa: PLC0415 - nor this

    environment = {"MODEL_PATH": str(subject.folder), "DEVICE": str(subject.device), **ADMIT_ALL}
    with running_child("benchmarks.load.load_client") as client, running_server(environment) as at:
        # A server under load has no idle moments to capture in; each comes QUIET_S after the last.
        graphs = subject.packed().device.figures().graphs
        time.sleep(1.2 * subject.settle_s + QUIET_S * graphs)
        for mix, protocol in CALLS:
            served = partial(
                client.ask,
                do="closed",
                target=at.grpc,
                protocol=protocol,
                mix=mix,
                items=CALL_TEXTS,
                clients=CLIENTS,
                seconds=subject.extent.seconds,
                vocabulary=subject.vocabulary,
            )
            alone = subject.rate(subject.packed(), mix)
            answers: list[Any] = []

            def serve(served: Callable[[], Any] = served, kept: list[Any] = answers) -> float:
                kept.append(served())
                return float(kept[-1]["tokens_per_s"])

            rates = interleaved({"server": serve, PACKED: alone}, subject.extent.rounds)
            found[f"{mix}: {protocol}"] = {
                "rates": rates,
                "median_tokens_per_s": statistics.median(rates["server"]),
                "over_engine": ratio(rates["server"], rates[PACKED]),
                "answers": answers,
            }
    return found
