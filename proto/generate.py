"""Generate the modules beside the .proto files: ``python proto/generate.py [--out DIR]``.

Needs the ``dev`` extra. The versions of the generators are pinned there, because
the test compares what they write byte for byte.
"""

# ruff: noqa: INP001 - this folder is a source root, not a package

import argparse
import sys
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).parent


def generate(out: Path) -> None:
    """Write ``_pb2.py``, ``_pb2.pyi`` and ``_grpc.py`` of every .proto under ``out``."""
    programs = Path(sys.executable).parent
    arguments = [
        "protoc",
        f"--proto_path={ROOT}",
        f"--plugin=protoc-gen-mypy={programs / 'protoc-gen-mypy'}",
        f"--plugin=protoc-gen-grpclib_python={programs / 'protoc-gen-grpclib_python'}",
        f"--python_out={out}",
        f"--mypy_out=quiet:{out}",
        f"--grpclib_python_out={out}",
        *sorted(str(path.relative_to(ROOT)) for path in ROOT.rglob("*.proto")),
    ]
    if protoc.main(arguments) != 0:
        raise SystemExit("protoc failed: see its message above")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT)
    generate(parser.parse_args().out)
