"""The ``penstock`` command: serve, embed, info, config, calibrate, key, simulate, plan.

Exit codes: 0 done, 1 failed (one line on stderr says why), 2 wrong usage or a
setting that cannot be used, 130 interrupted. Settings are read before anything
heavy is imported.
"""

import argparse
import os
import sys
from collections.abc import MutableMapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.client.arguments import KEY_VARIABLE
from pipeline.commands.other_commands import other_commands
from pipeline.commands.output_path import check_trace_file, why_unwritable
from pipeline.commands.parser import CONFIG_VARIABLE, parser
from pipeline.process.addresses import joined, reachable
from pipeline.process.cpu_affinity import check_cores
from pipeline.process.early_end import end_at_sigterm
from pipeline.process.logs import set_up_logs
from pipeline.process.ready_line import ready_line
from pipeline.process.standard_streams import open_standard_streams
from pipeline.settings.report import as_json, as_table, as_toml
from pipeline.settings.rows import rows
from pipeline.settings.sources import load_settings
from pipeline.settings.table import SettingError, Settings

if TYPE_CHECKING:  # at run time it would be the whole server
    from pipeline.lifecycle import Addresses


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    open_standard_streams()
    options = parser().parse_args(arguments)
    try:
        code = _run(options)
        sys.stdout.flush()  # here, where a reader who has gone is handled
    except SettingError as error:
        return _fail(str(error), 2)
    except KeyboardInterrupt:
        return 130
    except BaseExceptionGroup as errors:  # where Trio ran
        if errors.subgroup(KeyboardInterrupt) is None:
            raise
        return 130
    except OSError as error:  # on stdout: commands say of what else by themselves
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):  # its reader has gone, who may do so
            return 1
        return _fail(f"{error.filename or 'stdout'}: {error.strerror or error}", 1)
    return code


def _run(options: argparse.Namespace) -> int:
    if options.command == "serve":
        end_at_sigterm()
        settings = _prepared(options)
        from pipeline.commands.serve import serve  # noqa: PLC0415 (heavy, and needs the above)

        set_up_logs(settings.log_format, settings.log_level)
        return serve(settings, _announce)
    if options.command == "calibrate":
        return _calibrate(options)
    if options.command == "config":
        settings, sources = _settings(options)
        show = {"table": as_table, "json": as_json, "toml": as_toml}[options.form]
        print(show(settings, sources))  # noqa: T201
        return 0
    if options.command == "key":
        return _make_key(options.name)
    if (command := other_commands().get(options.command)) is not None:
        return command.run(options)
    return _ask_server(options)


def _ask_server(options: argparse.Namespace) -> int:
    from pipeline.client import commands  # noqa: PLC0415 (numpy and grpclib)

    access = commands.Access(
        options.target or _own_server(),
        os.environ.get(KEY_VARIABLE, ""),
        options.tls,
        options.ca_file,
        options.cert_file,
        options.key_file,
    )
    try:
        if options.command == "info":
            commands.info(access, as_json=options.json)
        else:
            commands.embed(
                access,
                texts=options.texts,
                file=options.file,
                output=options.output,
                resume=options.resume,
                prompt_name=options.prompt_name,
            )
    except commands.CommandError as error:
        return _fail(str(error), error.exit_code)
    return 0


def _calibrate(options: argparse.Namespace) -> int:
    output: Path = options.output
    if wrong := why_unwritable(output):
        return _fail(f"--output {output}: {wrong}", 2)
    settings = _prepared(options)
    from pipeline.commands.calibrate import calibrate  # noqa: PLC0415 (heavy, and needs the above)
    from pipeline.commands.exit_code import run_logged  # noqa: PLC0415

    set_up_logs(settings.log_format, settings.log_level)
    return run_logged(partial(calibrate, settings, output), "the device was not measured")


def _make_key(name: str) -> int:
    from pipeline.security.key_ring import make_key  # noqa: PLC0415

    try:
        key, line = make_key(name)
    except ValueError as error:
        return _fail(str(error), 2)
    print(f"key   {key}\nline  {line}")  # noqa: T201
    return 0


def _prepared(options: argparse.Namespace) -> Settings:
    """The settings of a command that loads the model, and the environment ready for it."""
    settings, sources = _settings(options)
    from pipeline.models.place import check_place  # noqa: PLC0415 (a tenth of a second)

    check_place(settings, sources)
    cores = os.sched_getaffinity(0)
    check_cores(settings, sources["device_cpus"], cores)
    check_trace_file(settings, sources["trace_file"])
    prepare_environment(os.environ, len(cores))
    return settings


def prepare_environment(environ: MutableMapping[str, str], cores: int) -> None:
    """Set what libraries read once, at their import; what is set already stays.

    With OpenMP's default spinning a busy neighbour costs the CPU engine three
    quarters of its speed, with PASSIVE half. Spinning 1,000 turns between two products
    (GOMP_SPINCOUNT) would save a short text 17% on an idle machine, and cost it 38% beside
    a busy neighbour. Tokenizing has a thread of its own; on few cores more of them would
    only take the engine's. MKL would keep 25 MB for each thread that multiplies; the heap
    keeps freed memory for all of them.
    """
    environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    environ.setdefault("MKL_DISABLE_FAST_MM", "1")
    environ.setdefault("TOKENIZERS_PARALLELISM", "true" if cores > 4 else "false")
    environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")


def _announce(addresses: "Addresses") -> None:
    line = ready_line(addresses.grpc, addresses.http, tls=addresses.tls, keys=addresses.keys)
    print(line, flush=True)  # noqa: T201


def _settings(options: argparse.Namespace) -> tuple[Settings, dict[str, str]]:
    given = vars(options)
    flags = {row.field: given[row.field] for row in rows() if given.get(row.field) is not None}
    file = options.config or os.environ.get(CONFIG_VARIABLE)
    return load_settings(flags, os.environ, Path(file) if file else None)


def _own_server() -> str:
    """Where a server with the settings of this environment listens."""
    file = os.environ.get(CONFIG_VARIABLE)
    settings, _ = load_settings({}, os.environ, Path(file) if file else None)
    return reachable(joined(settings.grpc_host, settings.grpc_port))


def _fail(message: str, code: int) -> int:
    print(f"penstock: {message}", file=sys.stderr)  # noqa: T201
    return code
