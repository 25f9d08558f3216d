// graphql-ws with ws, as its documentation shows them: one `events` subscription for each subscriber.

import { EventEmitter } from "node:events";
import { createServer } from "node:http";
import { buildSchema } from "graphql";
import { useServer } from "graphql-ws/use/ws";
import { WebSocketServer } from "ws";
import { takePosts } from "./event.mjs";

const schema = buildSchema(`
  scalar JSON
  type Event { id: ID! type: String! time: String! data: JSON sequence: Int! cursor: String! }
  type Query { nothing: Boolean }
  type Subscription { events(channel: String!): Event! }
`);
const bus = new EventEmitter();
bus.setMaxListeners(0);

async function* events() {
  const waiting = [];
  let wake;
  const listener = (event) => {
    waiting.push(event);
    wake?.();
  };
  bus.on("event", listener);
  try {
    for (;;) {
      while (waiting.length > 0) yield { events: waiting.shift() };
      await new Promise((resolve) => (wake = resolve));
    }
  } finally {
    bus.off("event", listener);
  }
}

const http = createServer(takePosts((event) => bus.emit("event", event)));
useServer({ schema, roots: { subscription: { events } } }, new WebSocketServer({ server: http, path: "/graphql" }));
http.listen(Number(process.argv[2]), "127.0.0.1");
