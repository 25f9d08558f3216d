"""Publishes with pika as fast as it can, and ends when RabbitMQ has confirmed every message.

Without confirms the last messages before the end of a connection may be lost on their way into a quorum queue.
"""

import pika


def publish(url, messages):
    """Publishes (exchange, routing key, body, properties) in this order. Raises where one is refused."""
    messages = list(messages)
    left = set(range(1, len(messages) + 1))
    refused = []

    def opened(channel):
        channel.confirm_delivery(confirmed)
        for message in messages:
            channel.basic_publish(*message)

    def confirmed(frame):
        tag = frame.method.delivery_tag
        told = {other for other in left if other <= tag} if frame.method.multiple else {tag}
        left.difference_update(told)
        if isinstance(frame.method, pika.spec.Basic.Nack):
            refused.extend(told)
        if not left:
            connection.close()

    connection = pika.SelectConnection(
        pika.URLParameters(url),
        on_open_callback=lambda connection: connection.channel(on_open_callback=opened),
        on_close_callback=lambda connection, _reason: connection.ioloop.stop(),
    )
    connection.ioloop.start()
    if left or refused:
        raise RuntimeError(f"{len(left)} messages were not confirmed, {len(refused)} were refused")
