"""compose.yaml: pinned, without rights, wired, and in line with the settings and the feed."""

from __future__ import annotations

import re
import shlex
import subprocess
import tomllib
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml

from streams import cli, story
from streams.settings import load
from streams.tokens import TokensFile, holder

DEPLOY = Path(__file__).parents[2] / "deploy"
ROOT = DEPLOY.parent
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = ("worker", "feed")


def each(names: Any = SERVICES) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("name", sorted(names))


def test_all_parts_are_there():
    assert {"kafka", "worker", "prometheus", "alertmanager", "grafana", "feed"} <= SERVICES.keys()


@each()
def test_image_is_pinned_to_the_patch(name):
    assert re.search(r":v?\d+\.\d+\.\d+$", SERVICES[name]["image"])


def test_kafka_is_the_version_that_the_tests_run_on():
    pom = ElementTree.parse(ROOT / "tests" / "kafka" / "pom.xml")
    [version] = [
        dependency.findtext("{*}version")
        for dependency in pom.iter("{http://maven.apache.org/POM/4.0.0}dependency")
        if str(dependency.findtext("{*}artifactId")).startswith("kafka_")
    ]

    assert SERVICES["kafka"]["image"] == f"apache/kafka:{version}"


@each(OURS)
def test_our_image_is_built_from_the_dockerfile_and_has_the_package_s_version(name):
    build = SERVICES[name]["build"]

    assert (DEPLOY / build["context"] / build["dockerfile"]).samefile(DEPLOY / "Dockerfile")
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert SERVICES[name]["image"] == f"groundswell:{version}"


@each()
def test_service_has_no_rights_and_a_root_that_it_cannot_write(name):
    service = SERVICES[name]

    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "cap_add", "pid", "network_mode", "user"} & service.keys()


@each()
def test_ports_are_published_on_the_loopback_address_alone(name):
    assert all(re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port) for port in SERVICES[name].get("ports", ()))


@each()
def test_what_it_waits_for_has_a_health_check(name):
    for other, how in SERVICES[name].get("depends_on", {}).items():
        assert how == {"condition": "service_healthy"}
        # The worker's is the image's: test_deploy_image.py.
        assert "healthcheck" in SERVICES[other] or other == "worker"


@each()
def test_health_check_asks_a_port_of_its_own(name):
    service = SERVICES[name]
    asked = re.findall(r"(?:127\.0\.0\.1|localhost):(\d+)", str(service.get("healthcheck")))

    inside = {port.rsplit(":", 1)[1] for port in service.get("ports", ())} | set(
        re.findall(r"INSIDE://:(\d+)", str(service.get("environment", "")))
    )
    assert set(asked) <= inside


@each()
def test_settings_that_are_mounted_are_read_only_and_data_is_in_declared_volumes(name):
    for mount in SERVICES[name].get("volumes", ()):
        source, target, *mode = mount.split(":")
        assert target.startswith("/")
        if source.startswith("."):
            assert mode == ["ro"], mount
            assert (DEPLOY / source).exists(), mount
        else:
            assert source in COMPOSE["volumes"], mount


@each(OURS)
def test_settings_load_with_the_variables_of_the_service(name):
    service = SERVICES[name]
    assert "./groundswell.toml:/etc/groundswell/groundswell.toml:ro" in service["volumes"]

    settings = load(DEPLOY / "groundswell.toml", env=service["environment"]).settings

    assert settings.kafka.address == "kafka:9092"


def test_page_and_http_ingest_can_be_reached_where_they_listen():
    settings = load(DEPLOY / "groundswell.toml", env={}).settings
    ports = (settings.web.port, settings.http_ingest.port)

    assert SERVICES["worker"]["ports"] == [f"127.0.0.1:{port}:{port}" for port in ports]
    assert settings.web.public_url == f"http://localhost:{settings.web.port}"


def test_worker_has_tokens_that_it_takes_and_that_the_readme_tells():
    settings = load(DEPLOY / "groundswell.toml", env={}).settings
    assert "./tokens:/etc/groundswell/tokens:ro" in SERVICES["worker"]["volumes"]

    people = TokensFile(settings.web.tokens_file, "web.tokens_file").tokens
    feeds = TokensFile(settings.http_ingest.tokens_file, "http_ingest.tokens_file").tokens

    assert {settings.web.tokens_file.parent, settings.http_ingest.tokens_file.parent} == {DEPLOY / "tokens"}
    readme = (DEPLOY / "README.md").read_text()
    assert any(holder(quoted, people) for quoted in re.findall(r"`([^`]+)`", readme))
    [sent] = re.findall(r"Authorization: Bearer ([^\"]+)", readme)
    assert holder(sent, feeds) is not None


def test_incidents_go_to_alertmanager_and_prometheus_scrapes_the_worker():
    settings = load(DEPLOY / "groundswell.toml", env={}).settings
    [alertmanager] = settings.destinations.values()
    prometheus = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())

    assert alertmanager.urls == ("http://alertmanager:9093",)
    [managers] = prometheus["alerting"]["alertmanagers"]
    assert [target for each in managers["static_configs"] for target in each["targets"]] == ["alertmanager:9093"]
    [scraped] = prometheus["scrape_configs"]
    [names] = scraped["dns_sd_configs"]
    assert (names["names"], names["port"]) == (["worker"], settings.web.port)


def test_grafana_finds_its_dashboards_and_prometheus():
    provisioning = DEPLOY / "grafana" / "provisioning"
    [dashboards] = (yaml.safe_load(file.read_text()) for file in (provisioning / "dashboards").glob("*.y*ml"))
    [sources] = (yaml.safe_load(file.read_text()) for file in (provisioning / "datasources").glob("*.y*ml"))

    mounted = dict(mount.split(":")[:2] for mount in SERVICES["grafana"]["volumes"])
    assert [each["options"]["path"] for each in dashboards["providers"]] == [mounted["./grafana/dashboards"]]
    assert [each["url"] for each in sources["datasources"]] == ["http://prometheus:9090"]


def test_kafka_can_be_reached_from_inside_and_outside_under_what_it_advertises():
    env = SERVICES["kafka"]["environment"]
    advertised = dict(each.split("://") for each in env["KAFKA_ADVERTISED_LISTENERS"].split(","))
    listening = {
        name: where.rsplit(":", 1)[1]
        for name, where in (each.split("://") for each in env["KAFKA_LISTENERS"].split(","))
    }

    assert advertised == {"INSIDE": "kafka:9092", "OUTSIDE": "localhost:19092"}
    assert {name: where.rsplit(":", 1)[1] for name, where in advertised.items()}.items() <= listening.items()
    assert SERVICES["kafka"]["ports"] == [f"127.0.0.1:{listening['OUTSIDE']}:{listening['OUTSIDE']}"]
    assert env["KAFKA_CONTROLLER_QUORUM_VOTERS"] == f"1@localhost:{listening['CONTROLLER']}"
    assert env["KAFKA_LOG_DIRS"] in [mount.split(":")[1] for mount in SERVICES["kafka"]["volumes"]]


# --- the feed ---


def test_settings_know_the_feed_and_whose_contact_centre_it_is():
    settings = load(DEPLOY / "groundswell.toml", env={}).settings

    assert settings.sources[story.CONTACT_CENTRE].bucket_seconds == story.CONTACT_SECONDS
    assert settings.ours.services == (story.OPERATOR,)
    assert settings.ours.sources == (story.CONTACT_CENTRE,)
    assert settings.ours.total == story.CONTACTS
    assert settings.ours.cost_per_contact == story.EURO_A_CONTACT


def test_feed_s_script_is_one_and_calls_verbs_that_there_are():
    script = (DEPLOY / "feed.sh").read_text()
    subprocess.run(["sh", "-n", DEPLOY / "feed.sh"], check=True)
    calls = [shlex.split(call) for call in re.findall(r"^[^#\n]*?\bgroundswell ([^|;&\n]+)", script, re.M)]
    calls += [shlex.split(call) for call in re.findall(r"\| groundswell ([^|;&\n]+)", script)]

    assert [verb for verb, *_ in calls] == ["topics", "feed", "feed", "seed", "send"]
    for verb, *arguments in calls:
        known = {name for option in cli.cli.commands[verb].params for name in option.opts}
        assert {argument for argument in arguments if argument.startswith("--")} <= known
    assert "--since" in {name for option in cli.cli.commands["feed"].params for name in option.opts}


def test_worker_waits_for_what_the_script_says_when_the_past_is_learned():
    _, *test = SERVICES["feed"]["healthcheck"]["test"]

    assert test == ["test", "-e", "/tmp/begins"]
    assert "touch /tmp/begins" in (DEPLOY / "feed.sh").read_text()
    assert "/tmp" in SERVICES["feed"]["tmpfs"]
    assert SERVICES["worker"]["depends_on"]["feed"] == {"condition": "service_healthy"}
