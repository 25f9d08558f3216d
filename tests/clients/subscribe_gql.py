"""Subscribes with gql in a session that reconnects by itself, which does not bring subscriptions back: they are made
anew after the last cursor.

Options: api, token, channel, after (null: from now on), transport (websockets or aiohttp), subprotocol.
"""

import asyncio

from gql import Client, GraphQLRequest
from gql.transport.aiohttp_websockets import AIOHTTPWebsocketsTransport
from gql.transport.exceptions import TransportError, TransportQueryError
from gql.transport.websockets import WebsocketsTransport

from options import OPTIONS, say

QUERY = """subscription Events($channel: String!, $after: Cursor) {
  events(channel: $channel, after: $after) { id channel type source sequence cursor data }
}"""
BASE = {"websockets": WebsocketsTransport, "aiohttp": AIOHTTPWebsocketsTransport}[OPTIONS["transport"]]


class Transport(BASE):
    """The library's own, which also tells of its connections."""

    async def connect(self):
        await super().connect()
        say(connected=True)


async def receive(session):
    """Goes on until the connection breaks."""
    variables = {"channel": OPTIONS["channel"], "after": OPTIONS["after"]}
    async for result in session.subscribe(GraphQLRequest(QUERY, variable_values=variables)):
        OPTIONS["after"] = result["events"]["cursor"]
        say(event=result["events"])


async def main():
    transport = Transport(
        url=OPTIONS["api"].replace("http", "ws") + "/graphql",
        init_payload={"token": OPTIONS["token"]},
        subprotocols=[OPTIONS["subprotocol"]],
    )
    session = await Client(transport=transport).connect_async(reconnecting=True)
    while True:
        try:
            await receive(session)
        except TransportQueryError as refused:
            say(error=refused.errors)
            raise
        except TransportError as broken:
            # Told again and again until the session has its connection back.
            say(broken=str(broken))
            await asyncio.sleep(0.1)


asyncio.run(main())
