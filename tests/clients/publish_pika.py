"""Publishes numbered plain messages with pika. Options: amqp, exchange, channel, count."""

import json

import pika

from options import OPTIONS, say

connection = pika.BlockingConnection(pika.URLParameters(OPTIONS["amqp"]))
channel = connection.channel()
for n in range(1, OPTIONS["count"] + 1):
    properties = pika.BasicProperties(
        message_id=f"pika-{n}",
        app_id="/pika",
        type="test.numbered",
        content_type="application/json",
        delivery_mode=pika.DeliveryMode.Persistent,
    )
    body = json.dumps({"n": n}).encode()
    channel.basic_publish(OPTIONS["exchange"], OPTIONS["channel"], body, properties)
connection.close()
say(published=OPTIONS["count"])
