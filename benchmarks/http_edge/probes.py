"""Health and metrics while HTTP calls saturate the model."""

import http.client
import json
import threading
import time
from collections import Counter
from typing import Final

import numpy as np

from benchmarks.harness.server_process import RunningServer, running_server
from benchmarks.load.texts import mixed_texts

PATHS: Final = ("/health", "/metrics")
PROBE_EVERY_S: Final = 0.02
HEADERS: Final = {"content-type": "application/json"}
TEXTS: Final = mixed_texts(500, seed=1)


def run(seconds: float, clients: int) -> None:
    """Measure and print."""
    statuses: Counter[int] = Counter()
    with running_server({"DEVICE": "cpu"}) as server:
        until = time.monotonic() + seconds
        load = [
            threading.Thread(target=_load, args=(server, number, until, statuses))
            for number in range(clients)
        ]
        for thread in load:
            thread.start()
        latencies = _probe(server, until)
        for thread in load:
            thread.join()
    print(f"{clients} clients: {dict(statuses)} answers by status")
    for path, found in latencies.items():
        p50, p99, most = np.percentile(found, (50, 99, 100)) * 1e3
        print(f"{path}: p50 {p50:.1f} ms, p99 {p99:.1f} ms, max {most:.1f} ms, {len(found)}")


def _load(server: RunningServer, number: int, until: float, statuses: "Counter[int]") -> None:
    connection = http.client.HTTPConnection(server.http, timeout=60)
    while time.monotonic() < until:
        number = (number + 7) % len(TEXTS)
        body = json.dumps({"input": [TEXTS[number]] * 4}).encode()
        connection.request("POST", "/v1/embeddings", body, HEADERS)
        answer = connection.getresponse()
        answer.read()
        statuses[answer.status] += 1
        if answer.status != http.client.OK:
            time.sleep(0.1)
    connection.close()


def _probe(server: RunningServer, until: float) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {path: [] for path in PATHS}
    connection = http.client.HTTPConnection(server.http, timeout=60)
    while time.monotonic() < until:
        for path in PATHS:
            started = time.perf_counter()
            connection.request("GET", path)
            connection.getresponse().read()
            found[path].append(time.perf_counter() - started)
        time.sleep(PROBE_EVERY_S)
    connection.close()
    return found
