"""The arguments of the commands that ask a running server."""

import argparse
from pathlib import Path
from typing import Final

KEY_VARIABLE: Final = "PENSTOCK_API_KEY"  # not a flag: others on the machine could see that


def add_embed(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``penstock embed``."""
    parser.description = (
        "Embed texts with a running server: one JSON array of numbers per text on stdout, or "
        "with --output a .npy file, float32 [texts, dimension]."
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("texts", nargs="*", default=[], metavar="TEXT", help="a text to embed")
    source.add_argument(
        "--file", metavar="LINES", help="UTF-8 file, one text per line; - for stdin"
    )
    parser.add_argument("--output", metavar="VECTORS.npy", type=Path, help="write a .npy file")
    parser.add_argument(
        "--resume",
        action="store_true",
        help="continue where an earlier run with the same --file and --output stopped",
    )
    parser.add_argument("--prompt-name", default="", metavar="NAME", help="a prompt of the model")
    add_target(parser)


def add_target(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that say how to reach a server."""
    parser.add_argument(
        "--target",
        metavar="HOST:PORT",
        help="the server (default: 127.0.0.1 and GRPC_PORT); if it needs a key, set "
        f"{KEY_VARIABLE}",
    )
    parser.add_argument("--tls", action="store_true", help="the server speaks TLS")
    parser.add_argument(
        "--ca-file",
        metavar="FILE",
        type=Path,
        help="PEM file with the authorities to trust; implies --tls",
    )
    parser.add_argument(
        "--cert-file",
        metavar="FILE",
        type=Path,
        help="PEM file with the client's certificate, if the server asks for one; implies --tls",
    )
    parser.add_argument(
        "--key-file",
        metavar="FILE",
        type=Path,
        help="PEM file with its key, if that is a separate file",
    )
