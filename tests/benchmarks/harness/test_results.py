import argparse
import json
from pathlib import Path

import pytest

from benchmarks.harness import results


def options(*arguments):
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*")
    parser.add_argument("--environments", type=Path, default=Path("/here"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--client", action="append")
    parser.add_argument("--cells", nargs="+")
    return results.parse(parser, arguments)


def test_a_report_says_what_is_needed_to_run_it_again(tmp_path, capsys):
    path = tmp_path / "new" / "engine.json"
    results.keep("engine", {"rate": 1.5}, options("--rounds", "3", "--output", str(path)))
    report = json.loads(path.read_text())
    assert report["command"] == "python -m benchmarks.engine --rounds 3"
    assert report["figures"] == {"rate": 1.5}
    assert report["machine"]["cores"] >= 1
    assert {"python", "torch", "trio"} <= set(report["versions"])
    assert "engine.json" in capsys.readouterr().out
    assert results.read(path) == report


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("", ""),
        ("--rounds 5 --seconds 4", ""),
        ("a b --seconds=2", "a b --seconds 2"),
        ("--seconds 2.5 --quick", "--seconds 2.5 --quick"),
        ("--client x --client y --cells 1x1 2x2", "--client x --client y --cells 1x1 2x2"),
        ("--environments /there --output /tmp/x.json", ""),
    ],
)
def test_the_command_has_neither_paths_nor_what_is_so_anyway(given, kept):
    assert options(*given.split()).arguments == kept.split()


def test_a_quick_run_leaves_the_results_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(results, "FOLDER", tmp_path)
    results.keep("engine", {}, options("--quick"))
    assert not list(tmp_path.iterdir())
    results.keep("engine", {}, options())
    assert [path.name for path in tmp_path.iterdir()] == ["engine.json"]


def test_a_table_stands_in_columns():
    assert results.table(["tokens/s", "a"], [["packed", "1,000"], ["plain", "90"]]) == (
        "tokens/s      a\npacked    1,000\nplain        90"
    )


def test_rows_of_a_table_are_as_long_as_its_head():
    with pytest.raises(ValueError, match="zip"):
        results.table(["a", "b"], [["1"]])
