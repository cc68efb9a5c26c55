"""``penstock embed`` and ``penstock info``: a real client, over gRPC.

A .npy file appears under its name only when it is whole.
"""

import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.lib.format import open_memmap
from tqdm import tqdm

from pipeline.grpc import client

BAR_AFTER_S = 1.0  # shorter work needs no progress bar
REDRAW_S = {True: 0.1, False: 5.0}  # on a terminal, and in a log


class CommandError(Exception):
    """The command failed; the message is one line for its user."""


def embed(
    target: str, *, texts: Sequence[str], file: str | None, output: Path | None, prompt_name: str
) -> None:
    """Embed ``texts``, or the lines of ``file``, to stdout or to ``output``.

    Raises:
        CommandError: the file cannot be read, the output not written, or the server
            refused.
    """
    if output is not None and output.suffix != ".npy":
        raise CommandError(f"--output {output}: must end in .npy")
    wanted = read_lines(file) if file else list(texts)
    bar = tqdm(
        total=len(wanted),
        desc="Embedding",
        unit="text",
        delay=BAR_AFTER_S,
        mininterval=REDRAW_S[sys.stderr.isatty()],
    )
    try:
        with bar:
            job = partial(
                client.embed_texts, target, prompt_name=prompt_name, on_progress=bar.update
            )
            if output is None:
                vectors = job(wanted)
            else:
                dimension = client.embed_texts(target, wanted[:1], prompt_name=prompt_name).shape[1]
                _write(output, (len(wanted), dimension), partial(job, wanted))
    except client.ClientError as error:
        raise CommandError(str(error)) from error
    if output is None:
        for vector in vectors:
            # the shortest digits that give the same float32 back
            print(json.dumps([float(str(value)) for value in vector]))  # noqa: T201


def info(target: str, *, as_json: bool) -> None:
    """Print what the server at ``target`` serves."""
    try:
        facts = client.info(target)
    except client.ClientError as error:
        raise CommandError(str(error)) from error
    if as_json:
        print(json.dumps(facts, indent=2))  # noqa: T201
        return
    width = max(map(len, facts))
    for name, value in facts.items():
        print(f"{name:{width}}  {value}")  # noqa: T201


def read_lines(file: str) -> list[str]:
    """The lines of a UTF-8 file ("-" is stdin), without their ends."""
    try:
        raw = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        raise CommandError(f"--file {file}: {error.strerror or error}") from error
    lines = raw.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    if lines[-1] == b"":
        lines.pop()  # the end of the last line starts no other
    if not lines:
        raise CommandError(f"--file {file}: holds no lines")
    texts = []
    for number, line in enumerate(lines, 1):
        try:
            texts.append(line.removesuffix(b"\r").decode("utf-8"))
        except UnicodeDecodeError:
            raise CommandError(f"--file {file}: line {number} is not UTF-8") from None
    return texts


def _write(output: Path, shape: tuple[int, int], fill: Callable[..., object]) -> None:
    """A .npy file of ``shape``, filled by ``fill(out=...)``; nothing when that fails."""
    try:
        with tempfile.TemporaryDirectory(dir=output.parent, prefix=".penstock-") as folder:
            path = Path(folder) / "vectors.npy"
            table = open_memmap(path, mode="w+", dtype=np.float32, shape=shape)
            fill(out=table)
            table.flush()
            del table
            path.replace(output)
    except OSError as error:
        raise CommandError(f"--output {output}: {error.strerror or error}") from error
