"""Publishes messages that no publisher in its right mind sends, each under an id of its own, and says what must become of it.

Options: amqp, exchange, channel. Prints {"case", "reason"} for what must be a dead letter, in order, and {"case", "stored"}
with a piece of the JSON in which it must be read for what must be stored.
"""

import base64
import decimal
import gzip
import json
import struct

import pika

from options import OPTIONS, say

CHANNEL = OPTIONS["channel"]
DEEPEST = 21_000
connection = pika.BlockingConnection(pika.URLParameters(OPTIONS["amqp"]))
channel = connection.channel()
channel.confirm_delivery()


class RawHeaders(pika.BasicProperties):
    """Properties whose headers are bytes already: pika would recurse too."""

    def encode(self):
        return [struct.pack(">HI", 1 << 13, len(self.headers)), self.headers]


def nested(depth, kind):
    """So many tables or arrays in each other, without the length of the outermost."""
    level = 6 if kind == b"F" else 5
    first = b"\0" + kind
    pieces = [first + struct.pack(">I", level * (depth - 1))]
    for left in range(depth - 2, -1, -1):
        pieces.append((b"\0" if kind == b"F" else b"") + kind + struct.pack(">I", level * left))
    return b"".join(pieces)


def publish(body, routing_key=CHANNEL, properties=None, **named):
    properties = properties or pika.BasicProperties(**named)
    channel.basic_publish(OPTIONS["exchange"], routing_key, body, properties)


def dead(case, reason, body=b"1", **how):
    publish(body, **how)
    say(case=case, reason=reason)


def stored(case, piece, body=b"1", **how):
    publish(body, message_id=case, **how)
    say(case=case, stored=piece)


def kept(case, body):
    """It is said to be JSON and is none, so that it is kept as bytes."""
    encoded = base64.b64encode(body).decode()
    stored(case, f'"data_base64":"{encoded}"', body, content_type="application/json")


def json_type(**more):
    return dict(content_type="application/json", **more)


def cloudevent(**attributes):
    attributes = {"specversion": "1.0", "id": "c", "source": "/s", "type": "t", **attributes}
    return {f"ce-{name}": value for name, value in attributes.items() if value is not None}


# Bodies. What is JSON stays as it was written.
stored("escaped-nul", r'"data":{"a":"\u0000"}', rb'{"a":"\u0000"}', **json_type())
kept("lone-surrogate", rb'{"a":"\ud800"}')
kept("reversed-surrogates", rb'{"a":"\udc00\ud800"}')
stored("surrogate-pair", r'"data":"\ud83d\ude00"', rb'"\ud83d\ude00"', **json_type())
kept("bad-utf-8", b'{"a":"\xff\xfe"}')
stored("bad-utf-8-unnamed", '"data_base64":"eyJhIjoi//4ifQ=="', b'{"a":"\xff\xfe"}')
stored("empty-json", '"type":"message"', b"", **json_type())
stored("empty", '"type":"message"', b"")
kept("10000-deep", b"[" * 10_000 + b"]" * 10_000)
kept("200000-deep-and-open", b"[" * 200_000)
kept("129-deep", b"[" * 129 + b"]" * 129)
stored("128-deep", "[" * 128 + "]" * 128, b"[" * 128 + b"]" * 128, **json_type())
stored("1e400", '"data":1e400', b"1e400", **json_type())
stored("100-digits", '"data":' + "7" * 100, b"7" * 100, **json_type())
stored("same-key-twice", '"data":{"a":1,"a":2}', b'{"a":1,"a":2}', **json_type())
stored("script", '"data":"</script><script>alert(1)</script>"', b'"</script><script>alert(1)</script>"', **json_type())
kept("byte-order-mark", b"\xef\xbb\xbf1")
dead("too large", "too_large", b"x" * (16 << 20))
stored("gzip-unsaid", '"data_base64":"H4sI', gzip.compress(b"{}"))
dead("gzip", "unsupported_encoding", gzip.compress(b"{}"), content_encoding="gzip")
dead("gzip, falsely", "unsupported_encoding", b"{}", content_encoding="gzip")
dead("any other encoding", "unsupported_encoding", content_encoding="\u202ebr")

# Attributes.
dead("line break in type", "bad_event", type="a\nevent: nuncio.gap")
dead("carriage return in type", "bad_event", type="a\rb")
dead("nul in type", "bad_event", type="a\0b")
dead("long type", "bad_event", headers=cloudevent(type="t" * 257))
dead("long source", "bad_event", headers=cloudevent(source="/" * 1_025))
dead("ce-id missing", "bad_event", headers=cloudevent(id=None))
dead("ce-id empty", "bad_event", headers=cloudevent(id=""))
dead("ce-id huge", "bad_event", headers=cloudevent(id="i" * 65_536))
dead("ce-id no text", "bad_event", headers=cloudevent(id={"a": 1}))
dead("ce-id in two forms", "conflicting_headers", headers={**cloudevent(), "ce_id": "d"})
dead("ce-id unlike the property", "conflicting_headers", headers=cloudevent(), message_id="d")
dead("another version", "bad_event", headers=cloudevent(specversion="9.9"))
dead("time that is none", "bad_event", headers=cloudevent(time="yesterday"))
dead("time beyond years", "bad_event", headers=cloudevent(time="+292277026596-12-04T15:30:07Z"))
dead("structured, cut off", "bad_event", b'{"specversion":"1.0","id":', content_type="application/cloudevents+json")
dead("structured, no object", "bad_event", b"[1]", content_type="application/cloudevents+json")
dead("batch of one that is bad", "bad_event", b"[{}]", content_type="application/cloudevents-batch+json")
many = json.dumps([{"specversion": "1.0", "id": str(n), "source": "/s", "type": "t"} for n in range(1_001)]).encode()
dead("batch of 1,001", "too_large", many, content_type="application/cloudevents-batch+json")
other_project = {"specversion": "1.0", "id": "p", "source": "/s", "type": "t", "channel": "quiet.street"}
dead("another channel inside", "bad_event", json.dumps(other_project).encode(), content_type="application/cloudevents+json")
stored(
    "another-project-in-headers",
    '"channel":"' + CHANNEL + '"',
    headers={"project": "bystander", "nuncio-project": "bystander", "x-original-exchange": "nuncio.bystander"},
)

# Timestamps at the ends of time, and headers of every shape.
stored("timestamp-0", '"time":"1970-01-01T00:00:00Z"', timestamp=0)
stored("timestamp-last", '"time":"9999-12-31T23:59:59Z"', timestamp=253_402_300_799)
dead("timestamp beyond", "bad_event", timestamp=253_402_300_800)
dead("timestamp at the end", "bad_event", timestamp=(1 << 64) - 1)
dead("timestamp in milliseconds", "bad_event", timestamp=1_700_000_000_123)
dead("byte array as subject", "bad_event", headers={"subject": b"\xff\0"})
dead("64 KiB as subject", "bad_event", headers={"subject": "s" * 65_536})
stored("64-kib-header", '"type":"message"', headers={"x": "s" * 65_536, "y": b"\xff", "z": [1, None, True]})
stored("large-numbers", '"type":"message"', headers={"a": (1 << 63) - 1, "b": -(1 << 63), "d": decimal.Decimal("1.5")})
publish(b"2", properties=RawHeaders(headers=nested(100, b"F")))
publish(b"3", properties=RawHeaders(headers=nested(100, b"A")))
for kind in (b"F", b"A"):
    for depth in (200, 3_000, DEEPEST):
        dead(f"{depth} of {kind} in each other", "bad_event", properties=RawHeaders(headers=nested(depth, kind)))

# Routing keys.
for key in (
    "",
    "#",
    "*",
    "orders.#",
    "../",
    "orders/eu",
    "orders eu",
    "orders.",
    ".orders",
    "orders..eu",
    "k" * 255,
    "k.",
    "\u202eorders",
    "orders\u200b",
    "orders\0eu",
    "orders\neu",
    "$system.nodes",
    "$presence.orders",
    "ордера",
):
    dead(f"routing key {key!r}", "bad_channel", routing_key=key)
stored("the-last", '"data":1')
connection.close()
