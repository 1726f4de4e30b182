"""Receivers: from what the settings say of a destination to what carries deliveries there."""

from __future__ import annotations

from detectors.delivery import DeliveryRule
from streams.notify.alertmanager import AlertmanagerReceiver
from streams.notify.answer import Receiver
from streams.notify.destinations import Alertmanager, Destination, Email, PagerDuty, Slack, Webhook
from streams.notify.mail import EmailReceiver
from streams.notify.pagerduty import PagerDutyReceiver
from streams.notify.slack import SlackReceiver
from streams.notify.webhook import WebhookReceiver


def receiver(destination: Destination, rule: DeliveryRule, *, page_url: str | None) -> Receiver:
    """page_url: address of the status page as people reach it."""
    seconds = rule.timeout_seconds
    match destination:
        case Alertmanager():
            return AlertmanagerReceiver(destination, rule, page_url=page_url)
        case PagerDuty():
            return PagerDutyReceiver(destination, timeout_seconds=seconds, page_url=page_url)
        case Slack():
            return SlackReceiver(destination, timeout_seconds=seconds, page_url=page_url)
        case Webhook():
            return WebhookReceiver(destination, timeout_seconds=seconds, page_url=page_url)
        case Email():
            return EmailReceiver(destination, timeout_seconds=seconds, page_url=page_url)
