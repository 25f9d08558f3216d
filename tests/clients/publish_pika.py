"""Publishes numbered plain messages with pika. Options: amqp, exchange, channel, count."""

import json

import pika

from confirmed import publish
from options import OPTIONS, say


def message(n):
    properties = pika.BasicProperties(
        message_id=f"pika-{n}",
        app_id="/pika",
        type="test.numbered",
        content_type="application/json",
        delivery_mode=pika.DeliveryMode.Persistent,
    )
    return OPTIONS["exchange"], OPTIONS["channel"], json.dumps({"n": n}).encode(), properties


publish(OPTIONS["amqp"], map(message, range(1, OPTIONS["count"] + 1)))
say(published=OPTIONS["count"])
