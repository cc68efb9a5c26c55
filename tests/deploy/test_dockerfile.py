"""The Dockerfile agrees with the checkout it copies from; nothing here builds it."""

import json
import re
import shlex
import tomllib
from itertools import pairwise
from pathlib import Path

import pytest

from pipeline.commands.parser import parser
from pipeline.settings.rows import rows

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "deploy/Dockerfile"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
DEFAULTS = {row.name: row.default for row in rows()}


def instructions(text):
    """(instruction, its text) with the continued lines joined and comments left out."""
    lines = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    for line in lines.replace("\\\n", " ").splitlines():
        if line.strip():
            name, _, rest = line.strip().partition(" ")
            yield name, rest.strip()


def stages(text):
    """The instructions of each target, those of the image that it is built from included."""
    built = {}
    for name, rest in instructions(text):
        if name == "FROM":
            base, _, target = rest.partition(" AS ")
            built[target] = steps = list(built.get(base, []))
        elif built:
            steps.append((name, rest))
    return built


STAGES = stages(DOCKERFILE.read_text())
COPIED = [
    path
    for name, rest in STAGES["build"]
    if name == "COPY"
    for path in shlex.split(rest)[:-1]
]  # fmt: skip


def values(target, name):
    return [rest for step, rest in STAGES[target] if step == name]


def environment(target):
    text = " ".join(values(target, "ENV"))
    return dict(pair.split("=", 1) for pair in shlex.split(text))


def test_there_is_an_image_for_each_kind_of_device():
    assert set(STAGES) == {"build", "cpu", "cuda"}


@pytest.mark.parametrize("path", COPIED)
def test_what_is_copied_exists_and_is_not_ignored(path):
    assert (ROOT / path).exists()
    assert f"!{path}" in (DOCKERFILE.parent / "Dockerfile.dockerignore").read_text().split()


def test_everything_that_the_wheel_is_made_of_is_copied():
    packages = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    sources = {path.split("/")[0] for path in packages}
    project = PROJECT["project"]
    assert sources | {project["readme"], *project["license-files"]} <= set(COPIED)


@pytest.mark.parametrize("target", ["cpu", "cuda"])
def test_it_does_not_run_as_root(target):
    user = values(target, "USER")[-1]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)


@pytest.mark.parametrize("target", ["cpu", "cuda"])
def test_it_serves(target):
    (entry,), (command,) = values(target, "ENTRYPOINT"), values(target, "CMD")
    program, *arguments = json.loads(entry) + json.loads(command)
    assert program in PROJECT["project"]["scripts"]
    assert parser().parse_args(arguments).command == "serve"


def test_others_reach_it_at_the_ports_that_are_exposed():
    given = environment("cpu")
    assert (given["GRPC_HOST"], given["HTTP_HOST"]) == ("0.0.0.0", "0.0.0.0")  # noqa: S104
    ports = [str(DEFAULTS["GRPC_PORT"]), str(DEFAULTS["HTTP_HEALTH_PORT"])]
    assert values("cpu", "EXPOSE") == [" ".join(ports)]


def test_what_it_sets_is_a_setting_or_known_to_the_system():
    others = {"PATH", "HOME", "NVIDIA_VISIBLE_DEVICES", "NVIDIA_DRIVER_CAPABILITIES"}
    assert set(environment("cuda")) - others <= set(DEFAULTS)


def test_it_installs_what_make_installs():
    makefile = (ROOT / "Makefile").read_text()
    model = re.search(r"EMBEDDED_MODEL := (\S+)", makefile)[1]
    words = " ".join(values("build", "RUN")).split()
    assert model in words
    assert ("-c", "constraints.txt") in pairwise(words)
    (extras,) = [rest for rest in values("build", "ARG") if rest.startswith("EXTRAS=")]
    known = PROJECT["project"]["optional-dependencies"]
    assert set(extras.split('"')[1].split(",")) <= set(known)
