import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.harness.child import paused, running_child

ROOT = Path(__file__).parents[3]


@pytest.fixture
def module(tmp_path, monkeypatch):
    (tmp_path / "echoing.py").write_text(
        "from benchmarks.harness.child import answer_commands\n"
        "def double(number):\n"
        "    print('a library has something to say')\n"
        "    return {'doubled': number * 2}\n"
        "def fail(): raise ValueError('no such mix')\n"
        "def leave(): raise SystemExit\n"
        "answer_commands({'double': double, 'fail': fail, 'leave': leave})\n"
    )
    path = os.pathsep.join([str(tmp_path), str(ROOT), os.environ.get("PYTHONPATH", "")])
    monkeypatch.setenv("PYTHONPATH", path)
    return "echoing"


def test_a_child_answers_and_what_it_prints_does_not_disturb(module):
    with running_child(module) as child:
        assert [child.ask(do="double", number=n)["doubled"] for n in (1, 2)] == [2, 4]
    assert child.process.returncode == 0


def test_a_childs_errors_are_the_parents(module):
    with running_child(module) as child:
        with pytest.raises(RuntimeError, match="ValueError: no such mix"):
            child.ask(do="fail")
        assert child.ask(do="double", number=3) == {"doubled": 6}
        with pytest.raises(RuntimeError, match="gone"):
            child.ask(do="leave")


def test_paused_processes_stand_still_and_go_on():
    def state(process):
        return Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()[0]

    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        with paused(process.pid):
            os.waitid(os.P_PID, process.pid, os.WSTOPPED)
            assert state(process) == "T"
        os.waitid(os.P_PID, process.pid, os.WCONTINUED)
        assert state(process) != "T"
        process.communicate(b"\n")
