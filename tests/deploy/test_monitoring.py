"""The dashboard and the alerts ask for what the server exports, and promtool takes them."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from prometheus_client import generate_latest

from pipeline.observability.metrics import Metrics

ROOT = Path(__file__).parents[2]
ALERTS = ROOT / "deploy/prometheus/alerts.yml"
ALERT_TESTS = Path(__file__).with_name("alerts_test.yml")
DASHBOARD = json.loads((ROOT / "deploy/grafana/dashboard.json").read_text())
SCALING = yaml.safe_load((ROOT / "deploy/kubernetes/scaled_object.yaml").read_text())

RULES = [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
EXPRESSIONS = {
    **{f"panel {p['title']} {t['refId']}": t["expr"] for p in PANELS for t in p["targets"]},
    **{f"alert {rule['alert']}": rule["expr"] for rule in RULES},
    **{
        f"trigger {number}": trigger["metadata"]["query"]
        for number, trigger in enumerate(SCALING["spec"]["triggers"])
    },
}
SELECTOR = re.compile(r"\b((?:penstock|process)_\w+)(?:\{([^}]*)\})?")
MATCHER = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"')
GIVEN_BY_PROMETHEUS = {"instance"}


def exported():
    """The values of each label of each series."""
    labels = {}
    for family in Metrics().registry.collect():
        for sample in family.samples:
            known = labels.setdefault(sample.name, {})
            for name, value in sample.labels.items():
                known.setdefault(name, set()).add(value)
    return labels


EXPORTED = exported()


@pytest.mark.parametrize("where", EXPRESSIONS)
def test_every_series_that_is_asked_for_is_exported(where):
    asked = SELECTOR.findall(EXPRESSIONS[where])
    assert asked
    for name, matchers in asked:
        assert name in EXPORTED, name
        for label, operator, value in MATCHER.findall(matchers):
            if label in GIVEN_BY_PROMETHEUS:
                continue
            wanted = value.split("|") if operator in {"=~", "!~"} else [value]
            assert set(wanted) <= EXPORTED[name][label], (name, label)


@pytest.mark.parametrize("where", EXPRESSIONS)
def test_every_label_that_is_summed_by_is_there(where):
    expression = EXPRESSIONS[where]
    names = [name for name, _ in SELECTOR.findall(expression)]
    for labels in re.findall(r"\bby \(([^)]*)\)", expression):
        for label in set(labels.split(", ")) - GIVEN_BY_PROMETHEUS:
            assert all(label in EXPORTED[name] for name in names), label


def test_what_an_operator_is_promised_is_shown():
    shown = " ".join(EXPRESSIONS.values())
    for stem in (
        "requests", "refusals", "tokens", "padding_tokens", "channel_depth_messages",
        "channel_capacity_messages", "stage_seconds", "batch_fill_ratio", "graph_hits",
        "graph_misses", "device_busy_seconds", "backlog_seconds", "request_duration_seconds",
    ):  # fmt: skip
        assert re.search(rf"\bpenstock_{stem}(_total|_bucket|_sum)?\b", shown), stem


def test_panels_do_not_lie_over_one_another():
    taken = set()
    for panel in DASHBOARD["panels"]:
        box = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(box["x"], box["x"] + box["w"])
            for y in range(box["y"], box["y"] + box["h"])
        }
        assert not cells & taken, panel["title"]
        assert box["x"] + box["w"] <= 24
        taken |= cells
    numbers = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(numbers) == len(set(numbers))


def test_every_alert_is_tried_firing_and_silent():
    tests = yaml.safe_load(ALERT_TESTS.read_text())["tests"]
    tried = [case for test in tests for case in test["alert_rule_test"]]
    names = {rule["alert"] for rule in RULES}
    assert {case["alertname"] for case in tried if case["exp_alerts"]} == names
    assert {case["alertname"] for case in tried if not case["exp_alerts"]} == names


def promtool(*arguments):
    if shutil.which("promtool") is None:
        pytest.skip("needs promtool")
    command = ["promtool", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.external
def test_promtool_takes_the_alerts():
    assert f"{len(RULES)} rules found" in promtool("check", "rules", ALERTS)


@pytest.mark.external
def test_the_alerts_fire_when_they_should():
    assert "SUCCESS" in promtool("test", "rules", ALERT_TESTS)


@pytest.mark.external
def test_promtool_takes_every_expression_of_the_dashboard(tmp_path):
    rules = [
        {"record": f"panel:{number}", "expr": text.replace("$__rate_interval", "5m")}
        for number, text in enumerate(EXPRESSIONS.values())
    ]
    file = tmp_path / "rules.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    assert f"{len(rules)} rules found" in promtool("check", "rules", file)


@pytest.mark.external
def test_promtool_takes_what_is_exported():
    """Names end in their unit, counters in _total, and every family has its help text."""
    if shutil.which("promtool") is None:
        pytest.skip("needs promtool")
    done = subprocess.run(
        ["promtool", "check", "metrics"],
        input=generate_latest(Metrics().registry), capture_output=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr.decode()) == (0, "")
