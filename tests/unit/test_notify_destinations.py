import base64

import pytest

from detectors.delivery import DeliveryRule, Manner
from streams.notify.mail import EmailReceiver
from streams.notify.pagerduty import PagerDutyReceiver
from streams.notify.receivers import receiver
from streams.notify.settings import DestinationError, read_destinations
from streams.notify.slack import SlackReceiver
from streams.notify.webhook import WebhookReceiver


def read(tmp_path, **table):
    """The one destination of a settings file that has this table."""
    (tmp_path / "secret").write_text("whsec_" + base64.b64encode(b"k" * 32).decode())
    return read_destinations({"one": table}, "groundswell.toml", tmp_path)["one"]


@pytest.mark.parametrize(
    ("table", "kind", "manner"),
    [
        ({"type": "pagerduty", "routing_key_file": "secret"}, PagerDutyReceiver, Manner(acknowledges=True)),
        ({"type": "slack", "url_file": "secret"}, SlackReceiver, Manner(gap_seconds=1.0)),
        (
            {"type": "webhook", "url": "https://hooks.example/", "secret_files": ["secret"]},
            WebhookReceiver,
            Manner(parts=True, quiet=True, changes=True),
        ),
        ({"type": "email", "host": "smtp.example", "sender": "a@b.c", "to": ["d@e.f"]}, EmailReceiver, Manner()),
    ],
)
async def test_each_type_has_its_receiver_and_is_told_what_it_is_for(table, kind, manner, tmp_path):
    carries = receiver(read(tmp_path, **table), DeliveryRule(), page_url=None)

    assert isinstance(carries, kind)
    assert carries.manner == manner
    await carries.close()


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"type": "webhook", "url": "http://hooks.example/", "secret_files": ["secret"]}, "url is not https"),
        ({"type": "webhook", "url": "https://0x7f.1/", "secret_files": ["secret"]}, "127.0.0.1, which is no public"),
        ({"type": "email", "host": "h", "sender": "a@b.c", "to": ["d@e.f, g@h.i"]}, "is no address"),
        ({"type": "email", "host": "h", "sender": "a@b.c", "to": ["d@e.f"], "username": "u"}, "password_file"),
    ],
)
def test_destination_that_is_not_allowed_is_told_of_by_its_name(table, said, tmp_path):
    with pytest.raises(DestinationError, match=said) as caught:
        read(tmp_path, **table)

    assert caught.value.fact.startswith("[destination.one] in groundswell.toml: ")
