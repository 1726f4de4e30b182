"""Receivers: from what the settings say of a destination to what carries deliveries there."""

from __future__ import annotations

from detectors.delivery import DeliveryRule
from streams.notify.alertmanager import AlertmanagerReceiver
from streams.notify.answer import Receiver
from streams.notify.destinations import Alertmanager, Destination


def receiver(destination: Destination, rule: DeliveryRule, *, page_url: str | None) -> Receiver:
    """page_url: address of the status page as people reach it."""
    match destination:
        case Alertmanager():
            return AlertmanagerReceiver(destination, rule, page_url=page_url)
    raise NotImplementedError(type(destination).__name__)
