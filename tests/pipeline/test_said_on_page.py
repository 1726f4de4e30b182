"""What is said on a worker's page goes through Kafka and comes back as the incident's next record."""

from __future__ import annotations

import aiohttp
import pytest

from detectors.alert import State
from tests.pipeline import harness
from tests.pipeline.test_word import outage, quiet, told

TOKEN = "3f9c1d2e4b5a69788796a5b4"


@pytest.mark.timeout(240)
async def test_command_of_the_api_is_answered_by_the_record_and_shown_on_the_page(stage: harness.Stage) -> None:
    (stage.folder / "tokens").write_text(f"maria {TOKEN}\n")
    scene = await stage.set_scene(web__tokens_file=str(stage.folder / "tokens"))

    async with harness.workers(scene) as start, aiohttp.ClientSession() as session:
        worker = start()
        await worker.ready()
        url = f"http://127.0.0.1:{worker.port}"
        await harness.send(scene, [*quiet(scene.partitions), *outage(scene.partitions, 0, 10)])
        first = await told(scene, lambda each: each.state is State.OPEN)

        async def is_shown() -> bool:
            async with session.get(f"{url}/api/incidents/{first.id}") as answer:
                return answer.status == 200

        await harness.wait_until(is_shown, 30, "the page knew the incident")
        headers = {"Authorization": f"Bearer {TOKEN}"}
        body = {"action": "ack", "reason": "calling their hotline"}
        outcomes = []
        for _ in range(2):  # the second by the same producer
            async with session.post(f"{url}/api/incidents/{first.id}/commands", json=body, headers=headers) as answer:
                outcomes.append((answer.status, (await answer.json())["outcome"]))
        async with session.get(f"{url}/incidents/{first.id}") as answer:
            page = await answer.text()
        async with session.get(f"{url}/api/incidents/{first.id}") as answer:
            steps = [step["what"] for step in (await answer.json())["timeline"]]

        async def is_nobodys() -> bool:
            async with session.post(f"{url}/api/incidents/{first.id}/commands", json={}, headers=headers) as answer:
                return answer.status == 401

        (stage.folder / "tokens").write_text(f"maria {TOKEN[::-1]}\n")
        await harness.wait_until(is_nobodys, 30, "the worker let go of the token that was taken out")
        worker.check_alive()
        assert await worker.stop() == 0

    answered = await told(scene, lambda each: each.word is not None)
    assert outcomes == [(200, "done")] * 2
    assert answered.acknowledged is not None
    assert (answered.acknowledged.by, answered.acknowledged.reason) == ("maria", "calling their hotline")
    assert "calling their hotline" in page
    assert steps.count("acknowledged") == 2
    assert TOKEN not in worker.log.read_text()
