"""Measure the HTTP edge.

``python -m benchmarks.http_edge cost [--rounds 5] [--calls 2000] [--clients 4]``
    processor time of an item at 32 texts a call, over HTTP and over gRPC: of the edges
    alone, and of the whole server with a null device
``python -m benchmarks.http_edge hangup [--calls 2000] [--clients 4]``
    how soon a client that hangs up frees its place, beside an idle server and a busy one
``python -m benchmarks.http_edge malformed [--requests 10000]``
    malformed requests: what they are answered, what is logged, what is left
``python -m benchmarks.http_edge probes [--seconds 20] [--clients 48]``
    latencies of /health and /metrics while HTTP calls saturate the embedded model
"""

import argparse

from benchmarks.http_edge import cost, hangup, malformed, probes


def main() -> None:
    """Run one of them and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("cost", "hangup", "malformed", "probes"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--calls", type=int, default=2000)
    parser.add_argument("--clients", type=int, default=0)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=20.0)
    options = parser.parse_args()
    if options.what == "cost":
        cost.run(options.rounds, options.calls, options.clients or 4)
    elif options.what == "hangup":
        hangup.run(options.calls, options.clients or 4)
    elif options.what == "malformed":
        malformed.run(options.requests)
    else:
        probes.run(options.seconds, options.clients or 48)


if __name__ == "__main__":
    main()
