"""Clients that do the gRPC port harm, each in a process of its own.

``python -m benchmarks.attack.attackers KIND HOST:PORT --seconds 3``

Floods send on one connection until it is closed, and then wait out their time. Slow
ones open calls or connections, and keep the server waiting for as long as it lets
them. Prints one line of JSON: after how many seconds the server had closed the
connection that it measures (null: it had not).
"""

import argparse
import json
import time

from benchmarks.attack.floods import FLOODS, flood
from benchmarks.attack.slow import SLOW


def main() -> None:
    """Attack and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=[*FLOODS, *SLOW])
    parser.add_argument("target")
    parser.add_argument("--seconds", type=float, default=3.0)
    options = parser.parse_args()
    closed_after_s, started = None, time.monotonic()
    if options.kind in FLOODS:
        closed_after_s = flood(options.target, FLOODS[options.kind], options.seconds)
        held = None
    else:
        held = SLOW[options.kind](options.target, options.seconds)
    print(json.dumps({"closed_after_s": closed_after_s}), flush=True)
    time.sleep(max(0.0, started + options.seconds - time.monotonic()))
    del held  # what it keeps open, until now


if __name__ == "__main__":
    main()
