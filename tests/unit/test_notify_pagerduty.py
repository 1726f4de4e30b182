import json

import pytest

from detectors.alert import Kind, Severity
from detectors.delivery import Action
from streams.notify.answer import Failed, Refused, Taken
from streams.notify.destinations import PagerDuty
from streams.notify.pagerduty import PagerDutyReceiver, event
from tests.contracts import check_event
from tests.made_alerts import outage, silence
from tests.made_deliveries import full, opened, over, then
from tests.misbehaving import Request, answer, serving

KEY = "R0UT1NGKEY0123456789abcdefABCDEF"
PAGE = "https://status.example"


def enqueue(request: Request) -> bytes:
    """As PagerDuty does: 202 for what holds to the contract, 400 for what does not."""
    try:
        assert (request.method, request.path) == ("POST", "/v2/enqueue")
        assert request.headers["content-type"] == "application/json"
        key = check_event(request.body)["dedup_key"]
    except (AssertionError, KeyError, ValueError) as error:
        return answer(400, json.dumps({"status": "invalid event", "errors": [repr(error)]}).encode())
    return answer(202, json.dumps({"status": "success", "message": "Event processed", "dedup_key": key}).encode())


@pytest.fixture
def key_file(tmp_path):
    file = tmp_path / "routing-key"
    file.write_text(KEY + "\n")
    return file


async def deliver(server, key_file, *deliveries):
    """Its answers."""
    receiver = PagerDutyReceiver(
        PagerDuty(routing_key_file=key_file, url=f"{server.url}/v2/enqueue"), timeout_seconds=5.0, page_url=PAGE
    )
    try:
        return list(await receiver.deliver(deliveries, 1_666_699_200.0))
    finally:
        await receiver.close()


async def test_incident_is_triggered_made_worse_acknowledged_and_resolved_under_one_key(key_file):
    story = [
        opened(full()),
        then(Action.UPDATE, full(sequence=3, severity=Severity.CRITICAL)),
        then(Action.ACKNOWLEDGE, full(sequence=4)),
        over(full(sequence=9)),
    ]
    async with serving(enqueue) as server:
        answers = await deliver(server, key_file, *story)

    assert answers == [Taken()] * 4
    sent = [request.json for request in server.requests]
    assert [each["event_action"] for each in sent] == ["trigger", "trigger", "acknowledge", "resolve"]
    assert {each["dedup_key"] for each in sent} == {"5f3c9a2b7d10"}
    assert {each["routing_key"] for each in sent} == {KEY}


def test_page_says_what_is_wrong_where_and_why():
    found = event(opened(full()), KEY, PAGE)

    assert found["client_url"] == "https://status.example/incidents/5f3c9a2b7d10"
    assert found["links"] == [
        {"href": "https://status.example/incidents/5f3c9a2b7d10", "text": "Incident in Groundswell"},
        {"href": "https://wiki.example/whatsapp", "text": "runbook"},
        {"href": "https://grafana.example/d/wa", "text": "dashboard"},
    ]
    payload = found["payload"]
    assert payload["summary"].startswith("WhatsApp in all of Italy: 8,214 reports in 12 minutes")
    assert payload["source"] == "WhatsApp in all of Italy"
    assert payload["severity"] == "critical"
    assert payload["timestamp"] == "2022-10-25T12:00:00Z"
    assert (payload["component"], payload["group"], payload["class"]) == ("WhatsApp", "all of Italy", "service")
    details = payload["custom_details"]
    assert details["Seen"] == "8,214 reports"
    assert details["Usual"] == "187 (150–224)"
    assert details["By chance"] == "practically never"
    assert (details["observed"], details["expected"], details["ratio"], details["evidence"]) == (
        8214,
        187.0,
        43.9,
        23.1,
    )
    assert (details["owner"], details["team"], details["maintenance"]) == (
        "Messaging",
        "messaging-oncall",
        "Upgrade of the gateway",
    )
    assert "41,200 contacts beyond the usual, 85 % of them about WhatsApp, 25,300 EUR" in details["Why"]
    assert "Reports name: sending 69 % (usually 20 %)." in details["Why"]
    assert "images" not in found


@pytest.mark.parametrize("severity", Severity)
def test_severity_goes_out_as_it_is(severity):
    assert event(opened(outage(severity=severity)), KEY, None)["payload"]["severity"] == severity.value


def test_silent_feed_has_no_group():
    payload = event(opened(silence()), KEY, None)["payload"]

    assert payload["component"] == "Feed outage-site"
    assert "group" not in payload


@pytest.mark.parametrize("kind", Kind)
def test_each_kind_of_incident_holds_to_the_contract(kind):
    import msgspec

    alert = outage(
        kind=kind, service=None if kind in (Kind.REGION, Kind.GLOBAL, Kind.FEED) else "WhatsApp", region=None
    )

    check_event(msgspec.json.encode(event(opened(alert), KEY, PAGE)))


async def test_key_is_read_at_each_event(key_file):
    async with serving(enqueue) as server:
        await deliver(server, key_file, opened())
        key_file.write_text("N" * 32)
        await deliver(server, key_file, opened())

    assert [request.json["routing_key"] for request in server.requests] == [KEY, "N" * 32]


async def test_bad_request_is_refused_for_good_without_the_key_that_it_quotes(key_file):
    said = answer(400, f'{{"status": "invalid event", "errors": ["routing_key {KEY} is invalid"]}}'.encode())
    async with serving(said) as server:
        (found,) = await deliver(server, key_file, opened())

    assert found == Refused(400, '{"status": "invalid event", "errors": ["routing_key *** is invalid"]}')


@pytest.mark.parametrize("content", [None, "", "\n", b"\xff\xfe"])
async def test_key_that_cannot_be_read_is_a_failure_that_names_the_file(content, key_file):
    key_file.unlink()
    if content is not None:
        key_file.write_bytes(content if isinstance(content, bytes) else content.encode())
    async with serving(enqueue) as server:
        (found,) = await deliver(server, key_file, opened())

    assert isinstance(found, Failed)
    assert str(key_file) in found.why
    assert server.requests == []
