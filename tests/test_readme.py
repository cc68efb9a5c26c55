"""What README, and those of folders, promise and a test can look at."""

import re
import shlex
import tomllib
from pathlib import Path

import pytest

from pipeline.client.arguments import KEY_VARIABLE
from pipeline.commands.parser import CONFIG_VARIABLE, parser
from pipeline.http.health import CAN_SERVE
from pipeline.settings.rows import rows

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
MEASURED = (ROOT / "benchmarks" / "README.md").read_text("utf-8")
PAGES = ("README.md", "benchmarks/README.md", "simulations/README.md")
TEXT = "\n".join((ROOT / page).read_text("utf-8") for page in PAGES)
COMMANDS = [
    line.split("#")[0].strip()
    for block in re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL)
    for line in block.splitlines()
]


def test_the_settings_table_is_the_tables():
    table = ["| Variable | Default | Meaning |", "|---|---|---|"]
    for row in rows():
        default = row.kind.show(row.default)
        table.append(f"| `{row.name}` | {f'`{default}`' if default else 'unset'} | {row.meaning} |")
    assert "\n".join(table) in README


def test_every_variable_in_the_text_is_a_setting():
    known = {row.name for row in rows()} | {CONFIG_VARIABLE, KEY_VARIABLE}
    others = {"MODEL", "FLOAT32", "SIGTERM", "HOST:PORT", "LICENSE", "FILE"}
    named = set(re.findall(r"\b[A-Z]{3,}(?:_[A-Z0-9]+)+\b", TEXT)) - others
    assert named <= known


@pytest.mark.parametrize("command", [line for line in COMMANDS if "penstock" in line])
def test_every_penstock_command_parses(command):
    program, *arguments = shlex.split(command)
    assert program == ".venv/bin/penstock"
    assert parser().parse_args(arguments).command == arguments[0]


@pytest.mark.parametrize("target", sorted(set(re.findall(r"`?make ([a-z-]+)", TEXT))))
def test_every_make_target_exists(target):
    if target != "on":
        assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


@pytest.mark.parametrize("extra", ["s3", "cloudwatch", "otel", "flash-attn", "bench", "dev"])
def test_every_extra_exists_and_is_named(extra):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert extra in project["optional-dependencies"]
    assert f"`{extra}`" in README


@pytest.mark.parametrize("module", sorted(set(re.findall(r"`(benchmarks\.\w+)", TEXT))))
def test_every_benchmark_exists(module):
    path = ROOT / module.replace(".", "/")
    assert path.with_suffix(".py").exists() or (path / "__main__.py").exists()


def test_every_benchmark_is_named():
    folder = ROOT / "benchmarks"
    files = {path.stem for path in folder.glob("*.py") if path.stem != "__init__"}
    folders = {path.parent.name for path in folder.glob("*/__main__.py")}
    assert set(re.findall(r"`benchmarks\.(\w+)", MEASURED)) == files | folders


@pytest.mark.parametrize("page", PAGES)
def test_every_link_to_a_file_leads_there(page):
    links = re.findall(r"\]\((?!https?:)([^)#]+)", (ROOT / page).read_text("utf-8"))
    assert links
    for link in links:
        assert ((ROOT / page).parent / link).exists(), link


def test_every_file_that_is_named_exists():
    for name in ("proto/penstock/v1/embedding.proto", "LICENSE", ".ci/run"):
        assert name in README
        assert (ROOT / name).exists()
    for name in re.findall(r"`((?:deploy|simulations|pipeline|stages)/[\w./]*)`", TEXT):
        assert (ROOT / name).exists(), name


def test_the_message_size_note_is_true():
    assert 2730 * 384 * 4 < 4 << 20 < 2731 * 384 * 4


@pytest.mark.parametrize("status", sorted({*CAN_SERVE, "loading", "draining", "failed"}))
def test_every_health_status_is_named(status):
    assert f"`{status}`" in README


def test_it_is_licensed_as_it_says():
    lines = [line.strip() for line in (ROOT / "LICENSE").read_text().splitlines()]
    assert lines[1:3] == ["Apache License", "Version 2.0, January 2004"]
