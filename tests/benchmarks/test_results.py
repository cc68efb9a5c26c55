import argparse
import json
import sys

import pytest

from benchmarks import results


def options(*arguments):
    parser = argparse.ArgumentParser()
    results.add_options(parser)
    return parser.parse_args(arguments)


def test_a_report_says_what_is_needed_to_run_it_again(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["engine.py", "--rounds", "3"])
    path = tmp_path / "new" / "engine.json"
    results.keep("engine", {"rate": 1.5}, options("--output", str(path)))
    report = json.loads(path.read_text())
    assert report["command"] == "python -m benchmarks.engine --rounds 3"
    assert report["figures"] == {"rate": 1.5}
    assert report["machine"]["cores"] >= 1
    assert {"python", "torch", "trio"} <= set(report["versions"])
    assert "engine.json" in capsys.readouterr().out
    assert results.read(path) == report


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
