"""The pages of an incident, a service and the history, in two languages, and the feed."""

import re
from xml.etree import ElementTree

import pytest
from aiohttp.test_utils import TestClient, TestServer
from msgspec.structs import replace

from detectors.alert import Kind, Severity, ShownBy, Verdict
from detectors.catalogue import Service
from streams.web.texts import _TEXTS, TEXTS, Language, chosen
from tests.made_alerts import course, outage, resolved, silence
from tests.made_scene import ID, night, whatsapp
from tests.unit.test_web_server import Page, Worker, words

ATOM = "{http://www.w3.org/2005/Atom}"


@pytest.fixture
def worker() -> Worker:
    worker = Worker()
    worker.health.assigned(True)
    worker.health.recovered(True)
    worker.metrics.watermark.set(worker.now - 4)
    return worker


@pytest.fixture
async def client(worker):
    async with TestClient(TestServer(worker.app())) as client:
        yield client


async def read(client, path: str, status: int = 200, **headers: str) -> Page:
    answer = await client.get(path, headers=headers)
    assert answer.status == status
    assert answer.content_type == "text/html"
    return Page(await answer.text())


async def text_of(client, path: str, status: int = 200, **headers: str) -> str:
    return words(await read(client, path, status, **headers))


# An incident


async def test_page_of_an_incident_says_what_where_since_when_how_sure_whose_and_what_to_do(client, worker):
    night(worker.view)

    text = await text_of(client, f"/incidents/{ID}")

    assert "critical open Acknowledged by maria WhatsApp in all of Italy" in text
    assert "What broke WhatsApp Where all of Italy" in text
    assert "Not affected: it/valle-d-aosta, it/molise" in text
    assert "Since 11:25 UTC 35 min" in text
    assert (
        "How sure 18 of 20 looked at show it it explains 97 % of all excess; a million times and more likelier" in text
    )
    assert "Whose fault Looks like WhatsApp itself, all of Italy. Not ours: it is WhatsApp." in text
    assert "What to do Acknowledged by maria, 11:31: calling their hotline" in text
    assert "Team messaging Owner Ada Rossi Links runbook dashboard" in text


async def test_page_of_an_incident_tells_what_it_costs_us_and_what_to_say(client, worker):
    night(worker.view)

    text = await text_of(client, f"/incidents/{ID}")

    assert "Extra contacts 41,200 54,480 where 13,280 are usual" in text
    assert "About it 85 % by what they mention" in text
    assert "Forecast 82,400 extra contacts in the end" in text
    assert "Cost so far 25,338 EUR in the end 50,676 EUR" in text
    assert "For the voice menu en WhatsApp does not work at the moment." in text


async def test_page_of_an_incident_draws_from_an_hour_before_the_onset_on(client, worker):
    night(worker.view)

    html = await (await client.get(f"/incidents/{ID}")).text()

    assert "WhatsApp in all of Italy: reports per minute from 11:00 to 25 Oct 2022, 12:00, at most 1,241" in html
    assert html.count('class="onset"') == html.count('class="detected"') == 1
    assert html.count('class="grid"') == 3


async def test_page_of_an_incident_has_its_timeline_its_parts_and_what_was_before(client, worker):
    night(worker.view)

    text = await text_of(client, f"/incidents/{ID}")

    assert "Detected as warning" in text
    assert "Now spans a service" in text
    assert "Acknowledged by maria: calling their hotline" in text
    assert "What it explains" in text
    assert "WhatsApp in it/lombardia" in text
    assert "Earlier incidents here error 11 Sep, 18:05 – 19:20 812 reports beyond the usual" in text


async def test_part_says_what_explains_it_and_that_nobody_is_called(client, worker):
    night(worker.view)

    text = await text_of(client, "/incidents/part-1")

    assert "Explained by a wider incident: WhatsApp in all of Italy" in text
    assert "Call nobody for this one." in text


@pytest.mark.parametrize(
    ("broken", "explained", "said"),
    [
        (["TIM"], None, "It cannot be told: an own service looks broken, too: TIM."),
        ([], None, "It cannot be told whose it is."),
        ([], 0.8, "Not ours: it is WhatsApp."),
    ],
)
async def test_is_it_ours_is_answered_or_not(client, worker, broken, explained, said):
    contacts = whatsapp().contacts
    assert contacts is not None
    told = replace(contacts, broken=broken, explained=explained, shown_by=ShownBy.COURSE, cost=None)
    worker.view.apply(whatsapp(contacts=told))

    assert said in await text_of(client, f"/incidents/{ID}")


@pytest.mark.parametrize(
    ("kind", "service", "region", "said"),
    [
        (Kind.SERIES, "WhatsApp", "it", "Looks like WhatsApp alone, in it alone"),
        (Kind.SERIES, "WhatsApp", "", "the reports do not say where"),
        (Kind.SERVICE, "WhatsApp", None, "Looks like WhatsApp itself, everywhere."),
        (Kind.REGION, None, "it/lazio", "suspect the network or power there"),
        (Kind.GLOBAL, None, None, "suspect what all have in common"),
    ],
)
async def test_whose_fault_is_said_of_every_kind(client, worker, kind, service, region, said):
    worker.view.apply(outage("1", kind=kind, service=service, region=region))

    assert said in await text_of(client, "/incidents/1")


async def test_silent_feed_has_a_page(client, worker):
    worker.view.apply(silence("1"))

    text = await text_of(client, "/incidents/1")

    assert "Feed outage-site" in text
    assert "no report came by it" in text


async def test_incident_that_is_over_says_how_it_ended(client, worker):
    worker.view.apply(outage(course=course([9, 10, 400])))
    worker.view.apply(resolved())

    page = await read(client, "/incidents/incident-1")

    assert "lasted 12 min" in words(page)
    assert "What to do" not in page.text


async def test_link_that_is_no_web_address_is_not_followed(client, worker):
    worker.view.apply(outage("1", links={"bad": "javascript:alert(1)", "good": "https://wiki.example.org/x"}))

    html = await (await client.get("/incidents/1")).text()

    assert 'href="javascript' not in html
    assert "bad: javascript:alert(1)" in html
    assert 'href="https://wiki.example.org/x"' in html


async def test_unknown_incident_is_a_page_that_says_so(client):
    assert "No incident of this id is kept." in await text_of(client, "/incidents/nope", 404)


@pytest.mark.parametrize("id", ["a/b", "ü", "a?b#c", "<b>", "%2e%2e", "a\\b"])
async def test_links_lead_to_incidents_and_services_of_any_name(client, worker, id):
    worker.view.apply(outage(id, service=id))

    html = await (await client.get("/history")).text()
    (url,) = re.findall(r'href="(/incidents/[^"]*)"', html)
    html = await (await client.get("/")).text()
    page = await read(client, url.replace("&amp;", "&"))

    assert url in html
    assert "Whose fault" in page.text


# A service


async def test_page_of_a_service_has_its_regions_its_incidents_and_what_was(client, worker):
    night(worker.view)

    text = await text_of(client, "/services/whatsapp")

    assert "In trouble: 8 incidents" in text
    assert "WhatsApp in all of Italy critical" in text
    assert "it › lombardia error 38× usual" in text
    assert "it quiet 11 Sep, 18:05 – 19:20" in text
    assert "Team messaging" in text


async def test_service_of_the_catalogue_is_quiet_and_has_a_page_by_any_of_its_names(worker):
    worker.catalogued = (Service(name="TIM", aliases=("Telecom",), team="core"),)
    async with TestClient(TestServer(worker.app())) as client:
        overview = await text_of(client, "/")
        page = await text_of(client, "/services/telecom")

    assert "Quiet TIM" in overview
    assert "No trouble now" in page
    assert "Team core" in page


async def test_unknown_service_is_a_page_that_says_so(client):
    assert "No incident of this service is kept" in await text_of(client, "/services/nope", 404)


@pytest.mark.parametrize("name", ["a/b", "..", ".", "/", "ü ber", "a?b", "100%25", "a\\b"])
async def test_service_of_any_name_has_a_page(client, worker, name):
    worker.view.apply(resolved("1", service=name))

    html = await (await client.get("/")).text()
    (url,) = re.findall(r'<li><a href="(/services/[^"]*)"', html)

    assert "No trouble now" in await text_of(client, url.replace("&amp;", "&"))


# The overview


async def test_verdicts_come_first_then_what_else_is_in_trouble_then_what_is_quiet(client, worker):
    worker.view.apply(outage("1", service="TIM", severity=Severity.CRITICAL))
    verdict = Verdict(explained=0.9, taking_part=9, looked_at=10, not_taking_part=[], likelier=3.0, instead=[])
    worker.view.apply(
        outage("2", kind=Kind.REGION, service=None, region="it/lazio", severity=Severity.ERROR, verdict=verdict)
    )
    worker.view.apply(resolved("3", service="Iliad"))

    text = await text_of(client, "/")

    order = ["Worst: TIM", "Verdicts All services", "9 of 10 looked at show it", "In trouble TIM", "Quiet Iliad"]
    assert sorted(order, key=text.index) == order


# History


async def test_history_has_everything_the_latest_first(client, worker):
    night(worker.view)

    text = await text_of(client, "/history")

    assert "13 incidents" in text
    assert text.index("Poste Italiane in it/lazio/roma") < text.index("Vodafone in it/toscana")


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("service=whats", 9),
        ("service=POSTE", 1),
        ("region=it/lazio", 3),
        ("region=it/*", 12),
        ("region=italy", 1),
        ("severity=critical", 2),
        ("severity=error", 10),
        ("kind=feed", 1),
        ("kind=service&severity=critical", 1),
        ("from=2022-10-25T11:00", 11),
        ("to=2022-10-01", 1),
        ("from=2022-10-24T10:00&to=2022-10-24T10:30", 1),
        ("service=nobody", 0),
    ],
)
async def test_history_is_filtered(client, worker, query, found):
    night(worker.view)

    text = await text_of(client, f"/history?{query}")

    assert f"{found} incident{'' if found == 1 else 's'}" in text
    assert "Not understood" not in text


async def test_filter_that_makes_no_sense_filters_nothing_and_says_so(client, worker):
    night(worker.view)

    text = await text_of(client, "/history?severity=awful&from=soon&to=0000-99&kind=series&page=-3")

    assert "Not understood, so it filters nothing: Severity, From (UTC), To (UTC)." in text
    assert "11 incidents" in text


async def test_history_goes_on_page_by_page(client, worker):
    for i in range(120):
        worker.view.apply(resolved(f"{i}", started_at=f"2022-10-{i % 28 + 1:02}T00:00:00Z"))

    first = await read(client, "/history?service=what")
    last = await text_of(client, "/history?service=what&page=99")

    assert first.tags.count("tr") == 51
    assert "Page 1 of 3" in words(first)
    assert "Page 3 of 3" in last


async def test_history_keeps_what_was_asked_for_in_its_form(client, worker):
    html = await (await client.get("/history?service=%22%3E%3Cb%3E&severity=error")).text()

    assert 'value="&#34;&gt;&lt;b&gt;"' in html
    assert '<option value="error" selected>' in html


# Languages


@pytest.mark.parametrize(
    ("asked", "kept", "accepted", "spoken"),
    [
        (None, None, "", "en"),
        (None, None, "it", "it"),
        (None, None, "it-IT,it;q=0.9,en;q=0.8", "it"),
        (None, None, "en-GB,it;q=0.9", "en"),
        (None, None, "it;q=0, en;q=0.1", "en"),
        (None, None, "de, fr", "en"),
        (None, None, "it;q=x", "en"),
        (None, None, ";;,,=" * 1000, "en"),
        (None, "it", "en", "it"),
        ("en", "it", "it", "en"),
        ("xx", "yy", "it", "it"),
    ],
)
def test_language_is_that_asked_for_then_the_kept_one_then_the_browsers(asked, kept, accepted, spoken):
    assert chosen(asked, kept, accepted).value == spoken


async def test_italian_page_says_so_and_tells_numbers_and_records_as_they_are(client, worker):
    night(worker.view)

    html = await (await client.get(f"/incidents/{ID}", headers={"Accept-Language": "it"})).text()
    text = words(Page(html))

    assert '<html lang="it">' in html
    assert "35× il solito, 25.274 segnalazioni" in text
    assert "Di chi è Sembra WhatsApp stesso, tutta l'area Italy. Non è nostro: è WhatsApp." in text
    assert '<bdi lang="en">WhatsApp in all of Italy: 25,274 reports' in html


async def test_language_that_was_chosen_stays(client):
    await client.get("/?lang=it")

    text = await text_of(client, "/history")

    assert "Storico" in text
    assert "Nessun incidente corrisponde." in text


async def test_switch_of_the_language_keeps_the_page_and_what_was_asked_for(client):
    html = await (await client.get("/history?service=a%26b&page=1")).text()

    assert 'href="/history?service=a%26b&amp;page=1&amp;lang=it"' in html


def test_every_text_has_the_same_fields_in_both_languages():
    for key, (english, italian) in _TEXTS.items():
        assert set(re.findall(r"{(\w+)}", english)) >= set(re.findall(r"{(\w+)}", italian)) - {"n"}, key
        assert ("|" in english) == ("|" in italian), key
        assert english.strip(), key
        assert italian.strip(), key


@pytest.mark.parametrize("language", Language)
async def test_no_page_asks_for_a_text_that_is_not_there(worker, language):
    night(worker.view)
    async with TestClient(TestServer(worker.app())) as client:
        ids = [alert.id for alert in worker.view.all()]
        for path in ("/", "/history", "/services/WhatsApp", *(f"/incidents/{id}" for id in ids)):
            answer = await client.get(f"{path}?lang={language.value}")
            assert answer.status == 200, path


def test_numbers_are_written_as_the_language_does():
    assert TEXTS[Language.ENGLISH].count(1234567) == "1,234,567"
    assert TEXTS[Language.ITALIAN].count(1234567) == "1.234.567"
    assert TEXTS[Language.ITALIAN].number(3.14) == "3,1"
    assert TEXTS[Language.ITALIAN].age(400 * 86_400) == "1 a 35 g"


# The feed


async def test_feed_is_atom_with_an_entry_for_each_incident_the_last_changed_first(client, worker):
    night(worker.view)

    answer = await client.get("/feed.atom", headers={"Host": "status.example.org", "X-Forwarded-Proto": "https"})
    root = ElementTree.fromstring(await answer.text())

    assert answer.content_type == "application/atom+xml"
    assert root.findtext(f"{ATOM}id") == "https://status.example.org/feed.atom"
    assert root.findtext(f"{ATOM}updated") == "2022-10-25T12:00:00Z"
    entries = root.findall(f"{ATOM}entry")
    assert len(entries) == 13
    mine = next(e for e in entries if e.findtext(f"{ATOM}id") == f"https://status.example.org/incidents/{ID}")
    assert mine.findtext(f"{ATOM}title") == "WhatsApp in all of Italy: critical"
    assert "25,274 reports in 35 minutes" in (mine.findtext(f"{ATOM}content") or "")
    for entry in entries:
        for needed in ("id", "title", "updated"):
            assert entry.findtext(f"{ATOM}{needed}")


async def test_feed_without_incidents_is_valid(client):
    root = ElementTree.fromstring(await (await client.get("/feed.atom")).text())

    assert root.findtext(f"{ATOM}updated") == "1970-01-01T00:00:00Z"
    assert root.find(f"{ATOM}author/{ATOM}name") is not None


async def test_characters_that_xml_forbids_are_left_out_of_the_feed(client, worker):
    worker.view.apply(outage("1", service="a\x00\x08\x1b\ufffeb<&>\"'", summary="]]><x>\x0b"))

    root = ElementTree.fromstring(await (await client.get("/feed.atom")).read())

    assert root.findtext(f"{ATOM}entry/{ATOM}title") == "ab<&>\"' in it: critical"
    assert (root.findtext(f"{ATOM}entry/{ATOM}content") or "").startswith("]]><x>\n")


async def test_feed_has_no_more_than_a_hundred_entries(client, worker):
    for i in range(150):
        worker.view.apply(resolved(f"{i}"))

    root = ElementTree.fromstring(await (await client.get("/feed.atom")).text())

    assert len(root.findall(f"{ATOM}entry")) == 100
