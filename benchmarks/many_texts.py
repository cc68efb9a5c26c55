"""Does ``penstock embed`` of a file of many lines keep to bounded memory?

``python -m benchmarks.many_texts [--lines 1000000] [--other 10000] [--dimension 384]``

The command in a process of its own, of two files of short lines, against a server whose
device computes nothing. Prints for each the lines a second and the command's largest
resident memory: what more lines add to it is what is held for each.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.harness.results import ROOT
from benchmarks.harness.server_process import RunningServer, running_server

MEMORY = re.compile(r"VmHWM:\s+(\d+) kB")


def run(server: RunningServer, folder: Path, lines: int, dimension: int) -> tuple[float, int]:
    """Embed ``lines`` lines: seconds, and the largest resident memory in bytes."""
    texts, output = folder / "lines.txt", folder / "vectors.npy"
    with texts.open("w") as file:
        file.writelines(f"a short text, number {number}\n" for number in range(lines))
    arguments = ["--target", server.grpc, "--file", str(texts), "--output", str(output)]
    command = [sys.executable, "-m", "pipeline", "embed", *arguments, "--resume"]
    started, most = time.monotonic(), 0
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
    while process.poll() is None:
        try:
            status = Path(f"/proc/{process.pid}/status").read_text()
        except OSError:
            break
        most = max(most, *(1024 * int(size) for size in MEMORY.findall(status)), 0)
        time.sleep(0.05)
    took_s = time.monotonic() - started
    if process.wait() != 0:
        raise SystemExit("the command failed")
    if np.load(output, mmap_mode="r").shape != (lines, dimension):
        raise SystemExit("the matrix has another shape")
    output.unlink()
    return took_s, most


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lines", type=int, default=1_000_000)
    parser.add_argument("--other", type=int, default=10_000)
    parser.add_argument("--dimension", type=int, default=384)
    options = parser.parse_args()
    settings = {"DEVICE": "null", "NULL_DIMENSION": str(options.dimension)}
    with running_server({**os.environ, **settings}) as server, tempfile.TemporaryDirectory() as at:
        few_s, few = run(server, Path(at), options.other, options.dimension)
        many_s, many = run(server, Path(at), options.lines, options.dimension)
    for lines, took_s, most in ((options.other, few_s, few), (options.lines, many_s, many)):
        speed = lines / took_s
        print(f"{lines:9} lines  {speed:8.0f} lines/s  {most / 2**20:6.1f} MiB at most")
    print(f"{(many - few) / (options.lines - options.other):.1f} bytes more a line")


if __name__ == "__main__":
    main()
