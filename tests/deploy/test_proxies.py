"""The examples of proxies: HAProxy takes its own, Envoy's fits the manifests."""

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from pipeline.settings.rows import rows

DEPLOY = Path(__file__).parents[2] / "deploy"
DEFAULTS = {row.name: row.default for row in rows()}
ENVOY = yaml.safe_load((DEPLOY / "envoy.yaml").read_text())["static_resources"]
CLUSTERS = {cluster["name"]: cluster for cluster in ENVOY["clusters"]}
README = (DEPLOY.parent / "README.md").read_text()


@pytest.mark.external
def test_haproxy_takes_its_configuration():
    if shutil.which("haproxy") is None:
        pytest.skip("needs haproxy")
    command = ["haproxy", "-c", "-f", str(DEPLOY / "haproxy.cfg")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr


def routes_of(listener):
    (chain,) = listener["filter_chains"]
    (manager,) = chain["filters"]
    (host,) = manager["typed_config"]["route_config"]["virtual_hosts"]
    return host["routes"]


def endpoint_of(cluster):
    (endpoints,) = cluster["load_assignment"]["endpoints"]
    (endpoint,) = endpoints["lb_endpoints"]
    return endpoint["endpoint"]["address"]["socket_address"]


def test_envoy_leads_to_the_ports_of_the_service():
    text = (DEPLOY / "kubernetes/service.yaml").read_text()
    headless, _ = yaml.safe_load_all(text)
    name = headless["metadata"]["name"]
    assert endpoint_of(CLUSTERS["grpc"]) == {"address": name, "port_value": DEFAULTS["GRPC_PORT"]}
    http = {"address": name, "port_value": DEFAULTS["HTTP_HEALTH_PORT"]}
    assert endpoint_of(CLUSTERS["http"]) == http


def test_envoys_routes_lead_to_its_clusters_without_a_time_limit_of_its_own():
    routes = [route["route"] for listener in ENVOY["listeners"] for route in routes_of(listener)]
    assert [route["cluster"] for route in routes] == list(CLUSTERS)
    assert {route["timeout"] for route in routes} == {"0s"}


def test_envoy_asks_for_health_where_there_is_some():
    (grpc,), (http,) = CLUSTERS["grpc"]["health_checks"], CLUSTERS["http"]["health_checks"]
    assert grpc["grpc_health_check"] == {}
    assert f"| `{http['http_health_check']['path']}` |" in README


def test_envoy_speaks_http2_to_the_grpc_port():
    (options,) = CLUSTERS["grpc"]["typed_extension_protocol_options"].values()
    assert "http2_protocol_options" in options["explicit_http_config"]
