"""What is simulated: a TOML file, read into values.

Together with a seed it decides everything that happens.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from attrs import frozen

from pipeline.settings.conflicts import conflicts
from pipeline.settings.kinds import Choice, Flag, Integer, Number, Text
from pipeline.settings.rows import rows
from pipeline.settings.table import Settings
from pipeline.settings.toml_file import TomlError, parse_toml, read_text
from simulations.world.arrivals import ARRIVALS, Arrivals
from simulations.world.drift import STEADY, Drift, Pace
from simulations.world.faults import FAULTS, SHARE, Fault
from simulations.world.lengths import LENGTHS, Fixed, Lengths, Lognormal
from simulations.world.scenario_errors import InvalidValue, ScenarioError, line_of
from simulations.world.toml_reader import (
    SECONDS,
    SPAN,
    CostFile,
    Numbers,
    Table,
    Tables,
    option,
    parsed,
    read_table,
    required,
)
from stages.load.cost_model import CostModel
from stages.requests.lane import Lane

NAME: Final = Text("a name of letters, digits, dots and dashes", r"[\w.-]{0,64}")
CPU: Final = CostModel(0.002, 1 / 6000, 0.0)  # roughly MiniLM on two cores
LANES: Final = tuple(lane.name.lower() for lane in Lane)


@frozen
class Clients:
    """Callers of one kind. They are told apart by ``name`` in the report.

    A caller that is refused tries again up to ``retries`` times, at the earliest after
    ``backoff_s``, doubled each time and with jitter; if it ``honours_pushback``, not before
    the wait that the server asked for. Its deadline counts from the first attempt.
    """

    name: str = required(NAME)
    arrivals: Arrivals = required(ARRIVALS)
    lengths: Lengths = option(Lognormal(), LENGTHS)  # tokens of a text
    items: Lengths = option(Fixed(1), LENGTHS)  # texts of a request
    timeout_s: float = option(30.0, SPAN)
    tenant: str = option("", NAME)
    lane: str = option("interactive", Choice(LANES))
    ids_share: float = option(0.0, SHARE)  # of requests that bring token ids
    hang_up_share: float = option(0.0, SHARE)
    hang_up_after_s: float = option(0.1, SECONDS)
    retries: int = option(0, Integer(0, 100))
    backoff_s: float = option(0.1, SECONDS)
    honours_pushback: bool = option(True, Flag())


@frozen
class DeviceModel:
    """How long batches take on each device: seconds by a cost model, spread by ``jitter``.

    With ``drift`` they are slowed down as those of a recorded trace were.
    """

    calibration: CostModel = option(CPU, CostFile())
    jitter: float = option(0.05, Number(0.0, 0.9))
    drift: Drift | None = option(None, Table(Drift))

    @property
    def pace(self) -> Pace:
        """How fast a device is by time."""
        return STEADY if self.drift is None else self.drift.pace(self.calibration)


@frozen
class Host:
    """What happens besides the device, in seconds.

    A call takes ``call_s`` of the interpreter before the pipeline has it and ``answer_s``
    after: one call at a time. Tokenizing takes ``trip_s`` per slice and ``byte_s`` per byte;
    a token has ``token_bytes``. The device loses the share ``contention`` of all that while
    it runs, for cores that they share.
    """

    call_s: float = option(0.0, SECONDS)
    answer_s: float = option(0.0, SECONDS)
    trip_s: float = option(0.0001, SECONDS)
    byte_s: float = option(2e-7, SECONDS)
    token_bytes: int = option(6, Integer(3, 16))
    contention: float = option(0.0, Number(0.0, 0.95))


@frozen
class Fleet:
    """Servers behind a balancer, which get the ``speeds`` of their devices in turn."""

    replicas: int = option(1, Integer(1, 1000))
    balancer: str = option("round_robin", Choice(("round_robin", "least_loaded", "orca_weighted")))
    speeds: tuple[float, ...] = option((1.0,), Numbers(Number(0.01, 100.0)))


@frozen
class ServerSettings:
    """A table whose keys are the server's own settings, in lower case."""

    def read(self, raw: object, folder: Path) -> Settings:
        """See :class:`simulations.world.toml_reader.Reader`."""
        del folder
        if not isinstance(raw, Mapping):
            raise InvalidValue("must be a table of settings")
        table = {row.field: row for row in rows()}
        values = {}
        for key, value in raw.items():
            if key not in table:
                raise InvalidValue(
                    f"{key!r} is not a setting; `penstock config` prints all of them", (key,)
                )
            values[key] = parsed(table[key].kind, key, value)
        settings = Settings(**values)  # type: ignore[arg-type]  # checked row by row
        for one, other, wrong in conflicts(settings):
            key = one if one in raw else other
            raise InvalidValue(f"{one} {wrong} {other}", (key,) if key in raw else ())
        return settings


@frozen
class Scenario:
    """A simulation without its seed.

    Calls arrive and faults strike for ``duration_s``; then all must drain within
    ``recovery_s``, and the servers must answer again.
    """

    duration_s: float = required(SPAN)
    clients: tuple[Clients, ...] = required(Tables(Table(Clients)))
    recovery_s: float = option(60.0, SPAN)
    max_tokens: int = option(512, Integer(16, 32_768))  # of a text; longer ones are cut
    server: Settings = option(Settings(), ServerSettings())
    device: DeviceModel = option(DeviceModel(), Table(DeviceModel))
    host: Host = option(Host(), Table(Host))
    fleet: Fleet = option(Fleet(), Table(Fleet))
    faults: tuple[Fault, ...] = option((), Tables(FAULTS))

    def __attrs_post_init__(self) -> None:
        self._check_names()
        self._check_faults()

    def _check_names(self) -> None:
        names = [clients.name for clients in self.clients]
        if not names:
            raise InvalidValue("clients: at least one [[clients]] is needed", ("clients",))
        for index, name in enumerate(names):
            if name in names[:index]:
                raise InvalidValue(f"two clients are called {name!r}", ("clients", index, "name"))

    def _check_faults(self) -> None:
        for index, fault in enumerate(self.faults):
            if fault.at_s >= self.duration_s:
                raise InvalidValue(
                    f"at_s = {fault.at_s:g} is not allowed: must be below "
                    f"duration_s = {self.duration_s:g}",
                    ("faults", index, "at_s"),
                )


def parse_scenario(text: str, name: str, folder: Path) -> Scenario:
    """The scenario in a TOML document; paths in it are relative to ``folder``.

    Raises:
        ScenarioError: it is not TOML, or a value in it is unknown or impossible.
    """
    try:
        document = parse_toml(text)
    except TomlError as error:
        end = f"(at line {text.count(chr(10)) + 1}, the end)"
        where = str(error).replace("(at end of document)", end)
        raise ScenarioError(f"{name}: {where}") from None
    try:
        return read_table(Scenario, document, folder)
    except InvalidValue as invalid:
        where = ".".join(str(key) for key in invalid.path[:-1] if isinstance(key, str))
        line = line_of(text, invalid.path)
        raise ScenarioError(
            f"{name}, line {line}: {f'{where}: ' if where else ''}{invalid}"
        ) from None


def read_scenario(path: Path) -> Scenario:
    """The scenario in a file.

    Raises:
        ScenarioError: the file cannot be read, or what :func:`parse_scenario` raises.
    """
    try:
        text = read_text(path)
    except OSError as error:
        raise ScenarioError(f"{path}: {error.strerror or error}") from None
    except TomlError as error:
        raise ScenarioError(f"{path}: {error}") from None
    return parse_scenario(text, str(path), path.parent)
