"""What may stand on the command line of ``penstock``."""

import argparse
from functools import partial
from importlib.metadata import version
from pathlib import Path

from pipeline.client.arguments import add_embed, add_target
from pipeline.commands.other_commands import other_commands
from pipeline.settings.kinds import Flag
from pipeline.settings.rows import rows

CONFIG_VARIABLE = "PENSTOCK_CONFIG"
SETTINGS_USAGE = "[--config FILE] [--SETTING VALUE ...]"


def parser() -> argparse.ArgumentParser:
    """Its result has a ``command``; settings that were given as flags are there by field."""
    command_line = argparse.ArgumentParser(
        prog="penstock", description="An embedding server.", allow_abbrev=False
    )
    command_line.add_argument(
        "--version", action="version", version=f"penstock {version('penstock')}"
    )
    commands = command_line.add_subparsers(dest="command", required=True, metavar="command")
    add = partial(commands.add_parser, allow_abbrev=False)
    serve = add(
        "serve",
        help="serve embeddings over gRPC, and health and metrics over HTTP",
        usage=f"penstock serve {SETTINGS_USAGE}",
    )
    config = add(
        "config",
        help="print the settings in force and where each comes from",
        usage=f"penstock config [--json | --toml] {SETTINGS_USAGE}",
    )
    form = config.add_mutually_exclusive_group()
    for name, meaning in (("json", "as JSON"), ("toml", "as a file for --config")):
        form.add_argument(f"--{name}", dest="form", action="store_const", const=name, help=meaning)
    config.set_defaults(form="table")
    calibrate = add(
        "calibrate",
        help="measure what work costs on the device, for the simulator",
        usage=f"penstock calibrate --output DEVICE.json {SETTINGS_USAGE}",
    )
    calibrate.add_argument(
        "--output", metavar="DEVICE.json", type=Path, required=True, help="the file to write"
    )
    for command_with_settings in (serve, config, calibrate):
        _add_settings(command_with_settings)
    key = add(
        "key",
        help="make an API key: it is shown only once, with the line to add to API_KEYS_FILE",
    )
    key.add_argument("name", metavar="NAME", help="whose key it is, for logs and quotas")
    add_embed(add("embed", help="embed texts"))
    info = add("info", help="say what a running server serves")
    add_target(info)
    info.add_argument("--json", action="store_true", help="as JSON")
    for name, command in other_commands().items():
        command.add_arguments(add(name, help=command.help))
    return command_line


def _add_settings(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config", metavar="FILE", help=f"TOML file with settings (or {CONFIG_VARIABLE})"
    )
    group = parser.add_argument_group(
        "settings", "Each is also an environment variable (--grpc-port: GRPC_PORT)."
    )
    for row in rows():
        meaning = f"{row.meaning} (default: {row.kind.show(row.default) or 'unset'})"
        flag = isinstance(row.kind, Flag)
        group.add_argument(
            row.flag,
            dest=row.field,
            nargs="?" if flag else None,  # a flag alone means true
            const="true" if flag else None,
            metavar="VALUE",
            help=meaning.replace("%", "%%").replace("`", ""),
        )
