// Subscribes with graphql-ws and prints each event; comes back after the last cursor when the connection breaks.
// Options: api, token, channel, after (null: from now on), count (0: without end).
import { createClient } from 'graphql-ws'
import { setTimeout as pause } from 'node:timers/promises'
import WebSocket from 'ws'
import { options, print } from './options.mjs'

const { api, token, channel, count } = options
let { after } = options
let received = 0
const query = `subscription Events($channel: String!, $after: Cursor) {
  events(channel: $channel, after: $after) { id channel type source sequence cursor data }
}`

const client = createClient({
  url: `${api.replace('http', 'ws')}/graphql`,
  webSocketImpl: WebSocket,
  connectionParams: { token },
  retryAttempts: 0,
  on: {
    connected: () => print({ connected: true }),
    closed: (event) => print({ closed: event.code, reason: event.reason }),
  },
})

async function receive() {
  for await (const result of client.iterate({ query, variables: { channel, after } })) {
    if (result.errors) throw new Error(JSON.stringify(result.errors))
    const event = result.data.events
    after = event.cursor
    print({ event })
    if (++received === count) return
  }
}

do {
  try {
    await receive()
  } catch (broken) {
    // A connection that breaks has been told of as closed. An answer that refuses the operation is a list of errors.
    if (Array.isArray(broken)) {
      print({ error: broken })
      process.exit(1)
    }
    await pause(100)
  }
} while (received !== count || count === 0)
await client.dispose()
