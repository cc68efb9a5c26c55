"""``python tests/fuzz/fuzz.py TARGET [libFuzzer's options]``: atheris until it finds something.

``-runs=N`` and ``-max_total_time=S`` end it; what it found is written to a file named
``crash-...``, and that file as an argument runs it again.
"""

import sys
from pathlib import Path

import atheris

HERE = Path(__file__).parent


def main() -> None:
    sys.path[:0] = [str(HERE), str(HERE.parent / "support")]
    with atheris.instrument_imports(include=["pipeline.grpc", "stages", "h2", "hpack"]):
        from targets import TARGETS  # noqa: PLC0415 - atheris watches what is imported here

    name = sys.argv.pop(1)
    atheris.Setup(sys.argv, TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
