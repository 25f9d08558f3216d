"""Publishes six messages that cannot be events, each for another reason, and a good one behind them.

Options: amqp, exchange, channel. Says which reason each must get.
"""

import json

import pika

from options import OPTIONS, say

connection = pika.BlockingConnection(pika.URLParameters(OPTIONS["amqp"]))
channel = connection.channel()
channel.confirm_delivery()


def publish(body, reason=None, routing_key=OPTIONS["channel"], **properties):
    channel.basic_publish(OPTIONS["exchange"], routing_key, body, pika.BasicProperties(**properties))
    if reason:
        say(reason=reason)


publish(b'{"n":1}', message_id="taken")
publish(b'{"n":2}', "bad_channel", routing_key="orders..eu")
publish(json.dumps({"specversion": "1.0"}).encode(), "bad_event", content_type="application/cloudevents+json")
disagreeing = {"ce-specversion": "1.0", "ce-id": "1", "ce_id": "2", "ce-source": "/s", "ce-type": "t"}
publish(b"3", "conflicting_headers", headers=disagreeing)
publish(b"x" * 262_145, "too_large")
publish(b"\x1f\x8b", "unsupported_encoding", content_encoding="gzip")
publish(b'{"n":7}', "id_conflict", message_id="taken")
publish(b'{"n":8}', message_id="good")
connection.close()
