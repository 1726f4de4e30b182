"""The manifests: valid, complete, without rights, and in line with the settings they carry.

What the cluster's operators add (KEDA, Prometheus) is checked against schemas of our own, after their documentation.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from streams import topics
from streams.settings import Settings, load

HERE = Path(__file__).parents[2] / "deploy" / "kubernetes"
FOLDERS = [file.parent for file in sorted(HERE.rglob("kustomization.yaml"))]
BASE, EXAMPLE = HERE / "base", HERE / "overlays" / "example"

_WORDS = {"type": "object", "additionalProperties": {"type": "string"}}
_SCALING = {
    "type": "object",
    "required": ["stabilizationWindowSeconds", "policies"],
    "additionalProperties": False,
    "properties": {
        "stabilizationWindowSeconds": {"type": "integer", "minimum": 0, "maximum": 3600},
        "policies": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["type", "value", "periodSeconds"],
                "additionalProperties": False,
                "properties": {
                    "type": {"enum": ["Pods", "Percent"]},
                    "value": {"type": "integer", "minimum": 1},
                    "periodSeconds": {"type": "integer", "minimum": 1, "maximum": 1800},
                },
            },
        },
    },
}


def _closed(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": False, "properties": properties}


# KEDA 2.17 (keda.sh/docs: ScaledObject specification, Apache Kafka scaler, TriggerAuthentication) and the operator of
# Prometheus (ServiceMonitor), as far as we use them.
SPECS: dict[str, dict[str, Any]] = {
    "ScaledObject": _closed(
        scaleTargetRef=_closed(name={"type": "string"}),
        pollingInterval={"type": "integer", "minimum": 1},
        minReplicaCount={"type": "integer", "minimum": 0},
        maxReplicaCount={"type": "integer", "minimum": 1},
        fallback=_closed(
            failureThreshold={"type": "integer"},
            replicas={"type": "integer"},
            behavior={"enum": ["static", "currentReplicas", "currentReplicasIfHigher", "currentReplicasIfLower"]},
        ),
        advanced=_closed(horizontalPodAutoscalerConfig=_closed(behavior=_closed(scaleUp=_SCALING, scaleDown=_SCALING))),
        triggers={
            "type": "array",
            "minItems": 1,
            "items": _closed(
                type={"const": "kafka"},
                metricType={"enum": ["AverageValue", "Value"]},
                # Every value is a text, a number and a truth value, too.
                metadata=_WORDS
                | {
                    "required": ["bootstrapServers", "consumerGroup", "topic", "lagThreshold"],
                    "propertyNames": {
                        "enum": [
                            "bootstrapServers",
                            "consumerGroup",
                            "topic",
                            "lagThreshold",
                            "offsetResetPolicy",
                            "allowIdleConsumers",
                            "excludePersistentLag",
                            "sasl",
                            "tls",
                        ]
                    },
                },
                authenticationRef=_closed(name={"type": "string"}),
            ),
        },
    )
    | {"required": ["scaleTargetRef", "triggers"]},
    "TriggerAuthentication": _closed(
        secretTargetRef={
            "type": "array",
            "items": _closed(
                parameter={"enum": ["username", "password", "ca", "cert", "key", "sasl", "tls"]},
                name={"type": "string"},
                key={"type": "string"},
            )
            | {"required": ["parameter", "name", "key"]},
        }
    ),
    "ServiceMonitor": _closed(
        selector=_closed(matchLabels=_WORDS),
        endpoints={
            "type": "array",
            "minItems": 1,
            "items": _closed(
                port={"type": "string"},
                path={"type": "string"},
                interval={"type": "string", "pattern": r"^\d+s$"},
                relabelings={
                    "type": "array",
                    "items": _closed(targetLabel={"type": "string"}, replacement={"type": "string"}),
                },
            ),
        },
    ),
}


def read(file: Path) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(file.read_text())
    return document


def patches(folder: Path) -> list[Path]:
    return [
        folder / patch["path"] for patch in read(folder / "kustomization.yaml").get("patches", []) if "path" in patch
    ]


def resources(folder: Path) -> list[Path]:
    return [path for name in read(folder / "kustomization.yaml")["resources"] if (path := folder / name).is_file()]


RESOURCES = [file for folder in FOLDERS for file in resources(folder)]
DEPLOYMENT = read(BASE / "deployment.yaml")
POD = DEPLOYMENT["spec"]["template"]["spec"]
[WORKER] = POD["containers"]
SECRETS = read(EXAMPLE / "secrets.yaml")["spec"]["template"]["spec"]


def _by_name(file: Path) -> str:
    return str(file.relative_to(HERE))


# --- valid and complete ---


@pytest.mark.parametrize("file", RESOURCES, ids=_by_name)
def test_manifest_is_valid(file):
    manifest = read(file)

    spec = SPECS.get(manifest["kind"])
    if spec is None:
        kubernetes_validate.validate(manifest, "1.32", strict=True)
    else:
        assert manifest["apiVersion"] in ("keda.sh/v1alpha1", "monitoring.coreos.com/v1")
        jsonschema.validate(manifest["spec"], spec)


def test_patches_that_replace_triggers_leave_valid_ones():
    jsonschema.validate(read(EXAMPLE / "kafka-lag.yaml")["spec"], SPECS["ScaledObject"] | {"required": ["triggers"]})


@pytest.mark.parametrize("folder", FOLDERS, ids=_by_name)
def test_kustomization_names_every_file_of_its_folder_and_no_other(folder):
    kustomization = read(folder / "kustomization.yaml")
    made = [name for made in kustomization.get("configMapGenerator", []) for name in made["files"]]
    named = {*(path.name for path in (*resources(folder), *patches(folder))), *made}

    assert named == {file.name for file in folder.iterdir()} - {"kustomization.yaml"}
    for other in (*kustomization["resources"], *kustomization.get("components", [])):
        assert (folder / other).is_file() or (folder / other / "kustomization.yaml").is_file(), other


@pytest.mark.parametrize("patch", patches(EXAMPLE), ids=_by_name)
def test_patch_has_something_to_change(patch):
    wanted = read(patch)

    [target] = [
        each
        for each in map(read, RESOURCES)
        if (each["kind"], each["metadata"]["name"]) == (wanted["kind"], wanted["metadata"]["name"])
    ]
    assert target["apiVersion"] == wanted["apiVersion"]
    if wanted["kind"] == "Deployment":
        [container] = wanted["spec"]["template"]["spec"]["containers"]
        assert container["name"] == WORKER["name"]


def test_selectors_find_the_workers():
    labels = DEPLOYMENT["spec"]["template"]["metadata"]["labels"]
    service, budget, policy = (
        read(BASE / name) for name in ("service.yaml", "pod-disruption-budget.yaml", "network-policy.yaml")
    )

    for selector in (
        DEPLOYMENT["spec"]["selector"]["matchLabels"],
        service["spec"]["selector"],
        budget["spec"]["selector"]["matchLabels"],
        policy["spec"]["podSelector"]["matchLabels"],
        *(each["labelSelector"]["matchLabels"] for each in POD["topologySpreadConstraints"]),
    ):
        assert selector.items() <= labels.items()


# --- more than one, one at a time ---


def test_one_worker_may_go_while_another_stays():
    budget = read(BASE / "pod-disruption-budget.yaml")["spec"]

    assert DEPLOYMENT["spec"]["replicas"] >= 2
    assert budget["maxUnavailable"] < DEPLOYMENT["spec"]["replicas"]
    assert DEPLOYMENT["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}


@pytest.mark.parametrize(
    ("probe", "path"), [("startupProbe", "/healthz"), ("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")]
)
def test_probes_ask_what_the_worker_answers(probe, path):
    server = (Path(__file__).parents[2] / "streams" / "web" / "server.py").read_text()

    assert WORKER[probe]["httpGet"] == {"path": path, "port": "http"}
    assert f'"{path}"' in server


def test_ports_agree_with_the_settings():
    settings = load(BASE / "groundswell.toml", env=_environment(WORKER)).settings
    service = read(BASE / "service.yaml")

    assert settings.web.host == settings.http_ingest.host == "0.0.0.0"
    assert WORKER["ports"] == [
        {"name": "http", "containerPort": settings.web.port},
        {"name": "reports", "containerPort": settings.http_ingest.port},
    ]
    assert [port["targetPort"] for port in service["spec"]["ports"]] == ["http", "reports"]
    assert service["metadata"]["annotations"]["prometheus.io/port"] == str(settings.web.port)


def test_prometheus_gets_to_the_page_s_port_and_the_proxy_alone_to_that_for_reports():
    settings = load(BASE / "groundswell.toml", env=_environment(WORKER)).settings
    policy = read(BASE / "network-policy.yaml")["spec"]

    allowed = {
        (peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"], port["port"])
        for rule in policy["ingress"]
        for peer in rule["from"]
        for port in rule["ports"]
    }

    assert allowed == {
        ("monitoring", settings.web.port),
        ("ingress-nginx", settings.web.port),
        ("ingress-nginx", settings.http_ingest.port),
    }


# --- scaling ---


@pytest.mark.parametrize(
    ("folder", "scaled", "trigger"),
    [
        (
            BASE,
            HERE / "components" / "keda" / "scaled-object.yaml",
            HERE / "components" / "keda" / "scaled-object.yaml",
        ),
        (EXAMPLE, EXAMPLE / "kafka-lag.yaml", EXAMPLE / "kafka-lag.yaml"),
    ],
    ids=["base", "example"],
)
def test_keda_looks_at_the_lag_of_the_reports_and_starts_no_idle_worker(folder, scaled, trigger, tmp_path):
    settings = _settings(folder, tmp_path)
    [kafka] = [each["metadata"] for each in read(trigger)["spec"]["triggers"]]

    assert read(scaled)["spec"]["maxReplicaCount"] <= settings.topics.reports_partitions
    assert kafka["bootstrapServers"] == settings.kafka.address
    assert kafka["consumerGroup"] == topics.app_id(settings)
    assert kafka["topic"] == topics.names(settings).reports
    assert kafka["allowIdleConsumers"] == "false"


def test_keda_says_how_many_workers_there_are_and_the_deployment_does_not():
    [patch] = read(HERE / "components" / "keda" / "kustomization.yaml")["patches"]

    assert yaml.safe_load(patch["patch"]) == [{"op": "remove", "path": "/spec/replicas"}]
    assert read(HERE / "components" / "keda" / "scaled-object.yaml")["spec"]["minReplicaCount"] >= 2


# --- rights and secrets ---


def test_worker_has_what_the_restricted_standard_allows_and_no_more():
    assert POD["automountServiceAccountToken"] is False
    assert POD["securityContext"]["runAsNonRoot"] is True
    assert POD["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert WORKER["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert not {"hostNetwork", "hostPID", "hostIPC"} & POD.keys()
    assert all("hostPath" not in volume for volume in (*POD["volumes"], *SECRETS["volumes"]))


def test_worker_runs_as_the_image_s_user():
    dockerfile = (HERE.parent / "Dockerfile").read_text()
    [user] = re.findall(r"^USER (\d+):(\d+)$", dockerfile, re.M)

    context = POD["securityContext"]
    assert (str(context["runAsUser"]), str(context["runAsGroup"])) == user
    # It has to be able to read secrets that others cannot.
    assert context["fsGroup"] == context["runAsGroup"]


def test_no_secret_is_in_the_manifests():
    assert all(read(file)["kind"] != "Secret" for file in RESOURCES)
    assert not any("password =" in file.read_text() for file in HERE.rglob("*.toml"))


def test_secrets_are_files_in_mounted_secrets():
    [container] = SECRETS["containers"]
    mounted = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    secrets = {volume["name"]: volume["secret"]["secretName"] for volume in SECRETS["volumes"]}
    named = list(_environment(container).values()) + re.findall(
        r'"(/run/secrets/[^"]+)"', (EXAMPLE / "groundswell.toml").read_text()
    )

    assert mounted.keys() == {f"/run/secrets/{name}" for name in ("kafka", "page", "http-ingest", "destinations")}
    assert set(mounted.values()) == secrets.keys()
    assert named
    assert all(str(Path(path).parent) in mounted for path in named)
    assert all(mount["readOnly"] for mount in container["volumeMounts"])
    # The commands that make them name the same secrets and keys.
    commands = (EXAMPLE / "kustomization.yaml").read_text().replace("\\\n#", "")
    for path in named:
        folder, key = str(Path(path).parent), Path(path).name
        assert re.search(rf"create secret generic {secrets[mounted[folder]]} .*--from-\w+={re.escape(key)}=", commands)


def test_example_s_settings_are_right(tmp_path):
    settings = _settings(EXAMPLE, tmp_path)

    assert settings.kafka.security == "SASL_SSL"
    assert settings.kafka.username == "from /run/secrets/kafka/username"
    assert settings.kafka.password.reveal() == "from /run/secrets/kafka/password"
    assert settings.destinations.keys() == {"alertmanager", "slack"}
    assert settings.web.tokens_file == tmp_path / "run/secrets/page/tokens"
    assert settings.http_ingest.tokens_file == tmp_path / "run/secrets/http-ingest/tokens"
    assert settings.web.user_header
    assert settings.web.trusted_proxies
    assert str(settings.web.public_url).startswith("https://")


def test_network_policy_lets_kafka_through(tmp_path):
    allowed = [
        range(port["port"], port.get("endPort", port["port"]) + 1)
        for rule in read(BASE / "network-policy.yaml")["spec"]["egress"]
        for port in rule["ports"]
    ]

    for folder in (BASE, EXAMPLE):
        for broker in _settings(folder, tmp_path).kafka.address.split(","):
            assert any(int(broker.rsplit(":", 1)[1]) in ports if ":" in broker else 9092 in ports for ports in allowed)


def _environment(container: dict[str, Any]) -> dict[str, str]:
    return {each["name"]: each["value"] for each in container["env"] if each["name"] != "GROUNDSWELL_SETTINGS"}


def _settings(folder: Path, tmp_path: Path) -> Settings:
    """As the worker sees them, its secrets below a folder of our own."""
    text = (folder / "groundswell.toml").read_text()
    env = _environment(WORKER)
    if folder == EXAMPLE:
        env |= _environment(SECRETS["containers"][0])
    for path in {*re.findall(r'"(/run/secrets/[^"]+)"', text), *env.values()}:
        if path.startswith("/run/secrets/"):
            file = tmp_path / path.removeprefix("/")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"from {path}")
    here = f"{tmp_path}/run/secrets/"
    file = tmp_path / "groundswell.toml"
    file.write_text(text.replace("/run/secrets/", here))
    return load(file, env={name: value.replace("/run/secrets/", here) for name, value in env.items()}).settings
