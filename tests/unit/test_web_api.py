"""Incidents and services as JSON."""

import msgspec
import pytest
from aiohttp.test_utils import TestClient, TestServer

from detectors.alert import Course
from detectors.catalogue import Service
from streams.web.api import ApiError, IncidentDetail, IncidentList, ServiceList
from tests.made_alerts import outage, resolved
from tests.made_scene import ID, night
from tests.unit.test_web_server import Worker


@pytest.fixture
def worker() -> Worker:
    worker = Worker()
    worker.catalogued = (Service(name="Iliad", team="core"),)
    night(worker.view)
    return worker


@pytest.fixture
async def client(worker):
    async with TestClient(TestServer(worker.app())) as client:
        yield client


async def read(client, path: str, kind: type, status: int = 200):
    answer = await client.get(path)
    assert answer.status == status
    assert answer.content_type == "application/json"
    return msgspec.json.decode(await answer.read(), type=kind)


async def test_incidents_are_listed_worst_first(client):
    told = await read(client, "/api/incidents", IncidentList)

    assert (told.schema_version, told.open_count, len(told.open), len(told.recent)) == (1, 10, 10, 3)
    assert told.open[0].id == ID
    assert all(alert.course is None for alert in told.open)


async def test_incident_comes_with_its_whole_course_timeline_and_parts(client):
    told = await read(client, f"/api/incidents/{ID}", IncidentDetail)

    assert told.incident.id == ID
    assert told.url == f"/incidents/{ID}"
    assert isinstance(told.course, Course)
    assert (told.course.end, len(told.course.observed)) == ("2022-10-25T12:00:00Z", 60)
    assert [step.what.value for step in told.timeline] == ["opened", "severity", "span", "severity", "acknowledged"]
    assert (told.parts_count, told.parts[0].id) == (7, "part-0")
    assert told.parent is None


async def test_part_names_what_explains_it(client):
    told = await read(client, "/api/incidents/part-0", IncidentDetail)

    assert told.parent is not None
    assert told.parent.id == ID


async def test_unknown_incident_is_json_with_a_hint(client):
    told = await read(client, "/api/incidents/nope", ApiError, 404)

    assert told.error
    assert told.hint == "What is kept: /api/incidents"


@pytest.mark.parametrize("path", ["/api/", "/api/nope", "/api/incidents/a/b/c", "/api/incidents/"])
async def test_unknown_path_is_json_with_a_hint(client, path):
    told = await read(client, path, ApiError, 404)

    assert "/api/incidents" in told.hint


async def test_method_that_is_not_allowed_is_json_with_what_is(client):
    answer = await client.delete("/api/incidents/x/commands")

    assert answer.status == 405
    assert answer.headers["Allow"] == "POST"
    assert (await answer.json())["hint"] == "Allowed: POST."


async def test_services_are_listed_those_in_trouble_first(client):
    told = await read(client, "/api/services", ServiceList)

    assert [(each.name, each.in_trouble) for each in told.services] == [
        ("WhatsApp", True),
        ("Poste Italiane", True),
        ("Iliad", False),
        ("TIM", False),
        ("Vodafone", False),
    ]
    whatsapp, iliad = told.services[0], told.services[2]
    assert (whatsapp.open_count, whatsapp.open[0].incident, whatsapp.severity) == (8, ID, "critical")
    assert (whatsapp.team, iliad.team, iliad.severity, iliad.last_resolved_at) == ("messaging", "core", None, None)


async def test_lists_are_bounded(worker, client):
    for i in range(1_500):
        worker.view.apply(outage(f"part {i}", parent=ID, service=f"service {i}"))
        worker.view.apply(resolved(f"over {i}"))

    incidents = await read(client, "/api/incidents", IncidentList)
    services = await read(client, "/api/services", ServiceList)
    detail = await read(client, f"/api/incidents/{ID}", IncidentDetail)

    assert (incidents.open_count, len(incidents.open), len(incidents.recent)) == (1_510, 1_000, 200)
    assert len(services.services) == 1_000
    assert len(detail.parts) == 200
    assert detail.parts_count > 900
