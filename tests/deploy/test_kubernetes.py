"""The Kubernetes manifests fit their schemas, each other, and the server's own settings."""

import math
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from pipeline.commands.serve import WATCHDOG_S
from pipeline.settings.rows import rows

FOLDER = Path(__file__).parents[2] / "deploy/kubernetes"
OBJECTS = [
    thing for path in sorted(FOLDER.iterdir()) for thing in yaml.safe_load_all(path.read_text())
]
DEFAULTS = {row.name: row.default for row in rows()}
CORE = [thing for thing in OBJECTS if thing["kind"] != "ScaledObject"]


def of_kind(kind):
    return [thing for thing in OBJECTS if thing["kind"] == kind]


(DEPLOYMENT,) = of_kind("Deployment")
(BUDGET,) = of_kind("PodDisruptionBudget")
(SCALED,) = of_kind("ScaledObject")
SERVICES = {service["metadata"]["name"]: service["spec"] for service in of_kind("Service")}
TEMPLATE = DEPLOYMENT["spec"]["template"]
POD = TEMPLATE["spec"]
(CONTAINER,) = POD["containers"]
PORTS = {port["name"]: port["containerPort"] for port in CONTAINER["ports"]}
VARIABLES = {variable["name"]: variable for variable in CONTAINER["env"]}
PROBES = {name: CONTAINER[name + "Probe"] for name in ("startup", "readiness", "liveness")}


def setting(name):
    """The value in the container: its own, or the default."""
    return float(VARIABLES.get(name, {}).get("value", DEFAULTS[name]))


@pytest.mark.parametrize("thing", CORE, ids=[thing["kind"] for thing in CORE])
def test_it_fits_the_schema(thing):
    kubernetes_validate.validate(thing, kubernetes_validate.latest_version(), strict=True)


def test_the_schema_would_notice_a_misspelt_field():
    wrong = BUDGET | {"spec": BUDGET["spec"] | {"maxUnavailabel": 1}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, kubernetes_validate.latest_version(), strict=True)


def test_everything_selects_the_same_pods():
    labels = TEMPLATE["metadata"]["labels"]
    spread = [each["labelSelector"]["matchLabels"] for each in POD["topologySpreadConstraints"]]
    own = [DEPLOYMENT["spec"]["selector"]["matchLabels"], BUDGET["spec"]["selector"]["matchLabels"]]
    for selector in (*own, *spread, *(service["selector"] for service in SERVICES.values())):
        assert selector == labels


def test_every_variable_is_a_setting():
    assert set(VARIABLES) <= set(DEFAULTS)


def test_no_neighbour_sets_a_setting():
    """Kubernetes gives a pod variables such as GRPC_PORT, named after the Services around it."""
    assert POD["enableServiceLinks"] is False


def test_the_ports_are_those_that_the_server_listens_on():
    assert {"grpc": DEFAULTS["GRPC_PORT"], "http": DEFAULTS["HTTP_HEALTH_PORT"]} == PORTS
    for service in SERVICES.values():
        for port in service["ports"]:
            assert port["targetPort"] in PORTS
    assert TEMPLATE["metadata"]["annotations"]["prometheus.io/port"] == str(PORTS["http"])


def test_grpc_clients_see_every_pod():
    assert SERVICES["penstock"]["clusterIP"] == "None"
    assert SERVICES["penstock"]["ports"][0]["port"] == PORTS["grpc"]


def test_each_probe_asks_its_route():
    readme = (FOLDER.parents[1] / "README.md").read_text()
    asked = {name: probe["httpGet"]["path"] for name, probe in PROBES.items()}
    assert asked == {"startup": "/readyz", "readiness": "/readyz", "liveness": "/livez"}
    for path in (*asked.values(), TEMPLATE["metadata"]["annotations"]["prometheus.io/path"]):
        assert f"| `{path}` |" in readme
    assert {probe["httpGet"]["port"] for probe in PROBES.values()} == {"http"}


def test_a_start_has_minutes_and_a_hung_device_has_none():
    startup, liveness = PROBES["startup"], PROBES["liveness"]
    assert startup["periodSeconds"] * startup["failureThreshold"] >= 600
    # /livez waits for HANG_TIMEOUT_S itself.
    assert liveness["periodSeconds"] * liveness["failureThreshold"] <= setting("HANG_TIMEOUT_S")


def test_the_end_has_the_time_that_a_drain_takes():
    own_s = sum(setting(name) for name in DEFAULTS if name.startswith("SHUTDOWN_"))
    assert POD["terminationGracePeriodSeconds"] >= math.ceil(own_s + WATCHDOG_S)


def test_it_serves_on_until_proxies_know_that_it_goes():
    assert setting("SHUTDOWN_HOLD_S") >= 5


def test_it_runs_without_privileges_and_writes_only_below_tmp():
    assert POD["securityContext"]["runAsNonRoot"]
    dockerfile = (FOLDER.parent / "Dockerfile").read_text()
    assert f"USER {POD['securityContext']['runAsUser']}:" in dockerfile
    own = CONTAINER["securityContext"]
    assert own["readOnlyRootFilesystem"]
    assert not own["allowPrivilegeEscalation"]
    assert own["capabilities"]["drop"] == ["ALL"]
    (mount,) = CONTAINER["volumeMounts"]
    assert DEFAULTS["MODEL_CACHE_DIR"].startswith(mount["mountPath"])
    assert mount["name"] in [volume["name"] for volume in POD["volumes"]]


def test_a_rollout_or_an_eviction_takes_no_more_than_one_pod():
    assert DEPLOYMENT["spec"]["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    assert BUDGET["spec"]["maxUnavailable"] == 1
    assert SCALED["spec"]["minReplicaCount"] > 1


def test_it_scales_by_the_seconds_of_backlog():
    assert SCALED["apiVersion"] == "keda.sh/v1alpha1"
    spec = SCALED["spec"]
    assert spec["scaleTargetRef"] == {"name": DEPLOYMENT["metadata"]["name"]}
    assert "replicas" not in DEPLOYMENT["spec"]  # or every apply would undo the scaling
    assert 0 < spec["minReplicaCount"] < spec["maxReplicaCount"]
    for trigger in spec["triggers"]:
        assert trigger["type"] == "prometheus"
        assert set(trigger["metadata"]) == {"serverAddress", "query", "threshold"}
        assert all(isinstance(value, str) for value in trigger["metadata"].values())
    backlog = spec["triggers"][0]["metadata"]
    assert "penstock_backlog_seconds" in backlog["query"]
    # Pods are added well before requests are refused.
    assert float(backlog["threshold"]) < setting("BACKPRESSURE_MAX_DRAIN_MS") / 1e3 / 2
