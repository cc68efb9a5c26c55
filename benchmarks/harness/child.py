"""Processes of a benchmark's own, asked by lines of JSON and answering by lines of JSON.

A contender in a process of its own neither shares the interpreter lock with the
others nor its libraries' thread pools. The parent asks one child at a time.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeAlias

from attrs import frozen

from benchmarks.harness.results import ROOT

Answer: TypeAlias = dict[str, Any]
STOP_TIMEOUT_S = 10


@frozen
class Child:
    """A running child."""

    process: "subprocess.Popen[str]"

    def ask(self, **command: Any) -> Answer:
        """The answer to ``command``.

        Raises:
            RuntimeError: the child failed; its own words are in the message.
        """
        if self.process.stdin is None or self.process.stdout is None:
            raise RuntimeError("no pipes to the child")
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        answer: Answer = json.loads(line) if line else {"error": "the child has gone"}
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer


@contextmanager
def running_child(module: str, *arguments: str, **environment: str) -> Iterator[Child]:
    """``python -m module arguments`` with ``environment`` on top of ours, ended at the end."""
    process = subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield Child(process)
    finally:
        if process.stdin is not None:
            process.stdin.close()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


def answer_commands(commands: Mapping[str, Callable[..., Answer]]) -> None:
    """In the child: answer until the parent closes its end. A command's ``do`` names it."""
    # What libraries print must not come between the answers.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    for line in sys.stdin:
        command = json.loads(line)
        try:
            answer = commands[command.pop("do")](**command)
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers)


@contextmanager
def paused(*processes: int) -> Iterator[None]:
    """Let the named processes stand still meanwhile, so that they cost the measured one nothing."""
    for process in processes:
        os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes:
            os.kill(process, signal.SIGCONT)
