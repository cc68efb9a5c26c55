"""The arguments of the commands that ask a running server."""

import argparse
from pathlib import Path
from typing import Final

KEY_VARIABLE: Final = "PENSTOCK_API_KEY"  # not a flag: others on the machine see those


def add_embed(parser: argparse.ArgumentParser) -> None:
    """Those of ``penstock embed``."""
    parser.description = (
        "Embed texts by a running server: one JSON array of numbers a text on stdout, or with "
        "--output a .npy file, float32 [texts, dimension]."
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("texts", nargs="*", default=[], metavar="TEXT", help="a text to embed")
    source.add_argument("--file", metavar="LINES", help="UTF-8 file, a text a line; - for stdin")
    parser.add_argument("--output", metavar="VECTORS.npy", type=Path, help="write a .npy file")
    parser.add_argument(
        "--resume",
        action="store_true",
        help="go on where an earlier run with the same --file and --output stopped",
    )
    parser.add_argument("--prompt-name", default="", metavar="NAME", help="a prompt of the model")
    add_target(parser)


def add_target(parser: argparse.ArgumentParser) -> None:
    """How to reach a server."""
    parser.add_argument(
        "--target",
        metavar="HOST:PORT",
        help="the server (default: 127.0.0.1 and GRPC_PORT); a key it needs stands in "
        f"{KEY_VARIABLE}",
    )
    parser.add_argument("--tls", action="store_true", help="the server speaks TLS")
    parser.add_argument(
        "--ca-file", metavar="FILE", type=Path, help="PEM file with whom to trust; implies --tls"
    )
    parser.add_argument(
        "--cert-file",
        metavar="FILE",
        type=Path,
        help="PEM file with our certificate, where the server asks for one; implies --tls",
    )
    parser.add_argument(
        "--key-file", metavar="FILE", type=Path, help="PEM file with its key, where that is another"
    )
