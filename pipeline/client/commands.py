"""``penstock embed`` and ``penstock info``: a real client, over gRPC.

A .npy file appears under its name only when it is whole.
"""

import json
import ssl
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import ClassVar, Never

import numpy as np
from attrs import frozen
from numpy.typing import NDArray
from penstock.client import Client, ClientError, tls_context
from penstock.client.errors import InvalidRequest
from tqdm import tqdm

from pipeline.client.text_lines import GivenLines, Lines, LinesError, lines_of, stdin_lines
from pipeline.client.vector_file import VectorFile
from pipeline.client.vector_file_error import VectorFileError

BAR_AFTER_S = 1.0  # shorter work needs no progress bar
REDRAW_S = {True: 0.1, False: 5.0}  # on a terminal, and in a log


class CommandError(Exception):
    """The command failed; the message is one line for its user."""

    exit_code: ClassVar[int] = 1


class UsageError(CommandError):
    """The arguments do not go together, or make no sense."""

    exit_code = 2


@frozen
class Access:
    """How to reach a server: its address, the API key, and the files for TLS.

    ``cert_file`` may hold the key as well.
    """

    target: str
    api_key: str = ""
    tls: bool = False
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None

    def client(self) -> Client:
        """A client; close it.

        Raises:
            CommandError: a file cannot be used.
            UsageError: the target is not an address, or a key has no certificate.
        """
        context: ssl.SSLContext | None = None
        if self.key_file is not None and self.cert_file is None:
            raise UsageError("--key-file: needs --cert-file")
        files = {"ca": self.ca_file, "cert": self.cert_file, "key": self.key_file}
        given = [f"--{name}-file {path}" for name, path in files.items() if path is not None]
        if self.tls or given:
            try:
                context = tls_context(*files.values())
            except OSError as error:
                raise CommandError(f"{', '.join(given)}: {error.strerror or error}") from None
        try:
            return Client(self.target, api_key=self.api_key or None, tls=context)
        except InvalidRequest as error:
            raise UsageError(str(error)) from None


def embed(
    access: Access,
    *,
    texts: Sequence[str],
    file: str | None,
    output: Path | None,
    resume: bool,
    prompt_name: str,
) -> None:
    """Embed ``texts``, or the lines of ``file``, to stdout or to ``output``.

    Raises:
        CommandError: the file cannot be read, the output cannot be written, or the server
            refused.
        UsageError: ``output`` is not a .npy file, or there is nothing to resume from.
    """
    if output is not None and output.suffix != ".npy":
        raise UsageError(f"--output {output}: must end in .npy")
    if resume and (output is None or file in {None, "-"} or Path(str(file)).is_fifo()):
        raise UsageError("--resume: needs --file with a name, and --output")
    with _errors_as_lines(file, output), access.client() as client:
        lines = _lines(texts, file)
        if output is None:
            _print(client, lines, prompt_name)
        else:
            _fill(output, client, lines, prompt_name, resume=resume)


def info(access: Access, *, as_json: bool) -> None:
    """Print what the server serves."""
    try:
        with access.client() as client:
            facts = client.info()
    except ClientError as error:
        raise CommandError(str(error)) from error
    if as_json:
        print(json.dumps(facts, indent=2))  # noqa: T201
        return
    width = max(map(len, facts))
    for name, value in facts.items():
        print(f"{name:{width}}  {value}")  # noqa: T201


def _lines(texts: Sequence[str], file: str | None) -> Lines:
    if file is None:
        return GivenLines(texts)
    return stdin_lines() if file == "-" else lines_of(Path(file))


def _fill(output: Path, client: Client, lines: Lines, prompt_name: str, *, resume: bool) -> None:
    """Write the vectors of ``lines``, or of what an earlier run left to do."""
    facts = client.info()
    model = {"fingerprint": facts["fingerprint"], "prompt_name": prompt_name}
    origin = {**lines.origin(), **model}
    with (
        VectorFile(output, len(lines), facts["dimension"], origin, resume=resume) as vectors,
        _bar(len(lines), vectors.done.count) as bar,
    ):
        if vectors.finished:
            print(f"{output} is finished: nothing to do", file=sys.stderr)  # noqa: T201
        for start, end in tuple(vectors.gaps()):
            wanted = lines.between(start, end)
            parts = client.stream(
                wanted, bulk=True, prompt_name=prompt_name, fingerprint=facts["fingerprint"]
            )
            with closing(parts):
                for part in parts:
                    vectors.write(start + part.start, part.vectors)
                    bar.update(len(part.vectors))
        lines.origin()


def _print(client: Client, lines: Lines, prompt_name: str) -> None:
    """A line for each vector, in order, as soon as its turn has come."""
    early: dict[int, NDArray[np.float32]] = {}
    turn = 0
    parts = client.stream(lines.between(0, len(lines)), bulk=True, prompt_name=prompt_name)
    with closing(parts), _bar(len(lines), 0, disable=sys.stdout.isatty()) as bar:
        for part in parts:
            early[part.start] = part.vectors
            while (vectors := early.pop(turn, None)) is not None:
                for vector in vectors:
                    # the shortest digits that give the same float32 back
                    print(json.dumps([float(str(value)) for value in vector]))  # noqa: T201
                turn += len(vectors)
            bar.update(len(part.vectors))


def _bar(total: int, done: int, *, disable: bool = False) -> "tqdm[Never]":
    return tqdm(
        disable=disable,
        total=total,
        initial=done,
        desc="Embedding",
        unit="text",
        delay=BAR_AFTER_S,
        mininterval=REDRAW_S[sys.stderr.isatty()],
    )


@contextmanager
def _errors_as_lines(file: str | None, output: Path | None) -> Iterator[None]:
    """Turn errors into one line for the command's user."""
    try:
        yield
    except LinesError as error:
        raise CommandError(f"--file {file}: {error}") from error
    except VectorFileError as error:
        raise CommandError(f"--output {output}: {error}") from error
    except ClientError as error:
        raise CommandError(str(error)) from error
    except BrokenPipeError:  # stdout's reader has gone
        raise
    except OSError as error:
        where = "stdout" if output is None else f"--output {output}"
        raise CommandError(f"{where}: {error.strerror or error}") from error
