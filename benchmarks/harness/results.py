"""What a benchmark leaves behind: ``benchmarks/results/NAME.json``.

Beside the figures it says on which machine, with which versions, when and by which
command they came about, so that anyone can hold their own against them.
"""

import argparse
import json
import os
import platform
import re
import shlex
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[2]
FOLDER: Final = ROOT / "benchmarks" / "results"
PACKAGES: Final = (
    "torch", "transformers", "tokenizers", "numpy", "trio", "grpclib", "grpcio", "protobuf",
)  # fmt: skip
# With units for bfloat16 a bfloat16 server is several times as fast as without.
UNITS: Final = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8")


def parse(
    parser: argparse.ArgumentParser, arguments: Sequence[str] | None = None
) -> argparse.Namespace:
    """What was given, with the options that every benchmark has: ``--quick`` and ``--output``.

    Its ``arguments`` say the same as anyone would give it, for :func:`keep`.
    """
    parser.add_argument(
        "--quick", action="store_true", help="a short look; nothing is written unless --output"
    )
    parser.add_argument("--output", type=Path, help="default: benchmarks/results/NAME.json")
    options = parser.parse_args(arguments)
    options.arguments = list(_as_anyone(parser, options))
    return options


def keep(
    name: str, figures: Mapping[str, Any], options: argparse.Namespace, *, quiet: bool = False
) -> None:
    """Write the figures of benchmark ``name`` where ``options`` say, and say where."""
    if options.output is None and options.quick:
        return
    path = options.output or FOLDER / f"{name}.json"
    write(path, name, figures, options.arguments)
    if not quiet:
        print("written:", os.path.relpath(path))


def write(path: Path, name: str, figures: Mapping[str, Any], arguments: Sequence[str]) -> None:
    """Write ``figures`` of benchmark ``name`` with all that is needed to understand them."""
    report = {
        "benchmark": name,
        "command": shlex.join(("python", "-m", f"benchmarks.{name}", *arguments)),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "machine": machine(),
        "versions": versions(),
        "figures": figures,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def read(path: Path) -> dict[str, Any]:
    """The figures of a written report."""
    report: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return report


def machine() -> dict[str, Any]:
    """What computes: processor and its units, cores that may be used, memory, system."""
    try:
        about = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        about = ""
    model = re.search(r"model name\s*: (.+)", about)
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "processor": model[1] if model else platform.machine(),
        "units": [unit for unit in UNITS if re.search(rf"\b{unit}\b", about)],
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(memory / (1 << 30), 1),
        "system": f"{platform.system()} {platform.machine()}",
        "load_average_1min": round(os.getloadavg()[0], 2),
    }


def has_bfloat16() -> bool:
    """Whether the processor multiplies matrices of bfloat16 faster than of float32."""
    return bool({"avx512_bf16", "amx_bf16"}.intersection(machine()["units"]))


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that figures depend on, where installed."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def commit() -> str:
    """The commit that was measured, ``-dirty`` with changes on top; "" outside of git."""
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=10"],
            cwd=ROOT, capture_output=True, text=True, check=True,
        )  # fmt: skip
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.strip()


def _as_anyone(parser: argparse.ArgumentParser, options: argparse.Namespace) -> Iterator[str]:
    """The arguments without defaults, and without paths, which are those of one machine."""
    for action in parser._actions:  # noqa: SLF001 - argparse has no other list of them
        value = getattr(options, action.dest, action.default)
        if value == action.default or isinstance(value, Path):
            continue
        flag = action.option_strings[-1:]
        if action.nargs == 0:
            yield from flag
        elif action.nargs is None:  # an option that may be given several times
            for each in value if isinstance(value, list) else [value]:
                yield from (*flag, _word(each))
        else:
            yield from (*flag, *map(_word, value))


def _word(value: object) -> str:
    return str(value).removesuffix(".0")


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Rows of text under each other, the first column to the left and numbers to the right."""
    cells = [[str(cell) for cell in row] for row in (head, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if index else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    )
