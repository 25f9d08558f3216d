"""Publishes numbered CloudEvents, made by the CloudEvents SDK and sent with pika.

Options: amqp, exchange, channel, count, form:
  http_binary  headers as in HTTP (`ce-id`), which is what RabbitMQ's world sends
  amqp_binary  headers by the AMQP binding of CloudEvents (`cloudEvents_id`, the time in milliseconds)
  structured   the whole event in the body
"""

import pika
from cloudevents.core.bindings import amqp, http
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

from confirmed import publish
from options import OPTIONS, say

FORMAT = JSONFormat()


def http_binary(event):
    message = http.to_binary(event, FORMAT)
    headers = {name.lower(): value for name, value in message.headers.items()}
    return headers.pop("content-type"), headers, message.body


def amqp_binary(event):
    message = amqp.to_binary(event, FORMAT)
    return message.properties["content-type"], message.application_properties, message.application_data


def structured(event):
    message = amqp.to_structured(event, FORMAT)
    return message.properties["content-type"], message.application_properties, message.application_data


encode = {"http_binary": http_binary, "amqp_binary": amqp_binary, "structured": structured}[OPTIONS["form"]]


def message(n):
    attributes = {
        "id": f"cloudevents-{n}",
        "source": "/cloudevents",
        "type": "test.numbered",
        "datacontenttype": "application/json",
    }
    content_type, headers, body = encode(CloudEvent(attributes, {"n": n}))
    properties = pika.BasicProperties(
        content_type=content_type,
        headers=headers,
        delivery_mode=pika.DeliveryMode.Persistent,
    )
    return OPTIONS["exchange"], OPTIONS["channel"], body, properties


publish(OPTIONS["amqp"], map(message, range(1, OPTIONS["count"] + 1)))
say(published=OPTIONS["count"])
