"""``penstock embed`` and ``penstock info``: a real client, over gRPC.

Long work is sent in windows of a few requests; a .npy file appears under its name
only when it is whole.
"""

import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray
from tqdm import tqdm

from pipeline.grpc import client

WINDOW_TEXTS = 1024
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
    wanted = read_lines(file) if file else list(texts)
    if output is not None and output.suffix != ".npy":
        raise CommandError(f"--output {output}: must end in .npy")
    rows = _in_windows(target, wanted, prompt_name)
    if output is None:
        for vectors in rows:
            for vector in vectors:
                print(json.dumps([float(f"{value:.8g}") for value in vector]))  # noqa: T201
    else:
        _write(rows, len(wanted), output)


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


def _in_windows(
    target: str, texts: Sequence[str], prompt_name: str
) -> Iterator[NDArray[np.float32]]:
    bar = tqdm(
        total=len(texts),
        desc="Embedding",
        unit="text",
        delay=BAR_AFTER_S,
        mininterval=REDRAW_S[sys.stderr.isatty()],
        disable=len(texts) == 1,
    )
    with bar:
        for start in range(0, len(texts), WINDOW_TEXTS):
            window = texts[start : start + WINDOW_TEXTS]
            try:
                yield client.embed_texts(
                    target, window, prompt_name=prompt_name, on_progress=bar.update
                )
            except client.ClientError as error:
                raise CommandError(str(error)) from error


def _write(rows: Iterator[NDArray[np.float32]], count: int, output: Path) -> None:
    first = next(rows)
    try:
        with tempfile.TemporaryDirectory(dir=output.parent, prefix=".penstock-") as folder:
            partial = Path(folder) / "partial.npy"
            shape = (count, first.shape[1])
            table = open_memmap(partial, mode="w+", dtype=np.float32, shape=shape)
            table[: len(first)] = first
            done = len(first)
            for vectors in rows:
                table[done : done + len(vectors)] = vectors
                done += len(vectors)
            table.flush()
            del table
            partial.replace(output)
    except OSError as error:
        raise CommandError(f"--output {output}: {error.strerror or error}") from error
