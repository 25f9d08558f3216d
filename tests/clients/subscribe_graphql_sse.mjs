// Subscribes with graphql-sse and prints each event; comes back after the last cursor when the connection breaks.
// Options: api, or apis (each request goes to the next of them), token, channel, after (null: from now on),
// count (0: without end), mode (distinct, or single: the single connection mode).
import { createClient } from 'graphql-sse'
import { setTimeout as pause } from 'node:timers/promises'
import { options, print } from './options.mjs'

const { api, apis = [api], token, channel, count, mode = 'distinct' } = options
let { after } = options
let [received, turn] = [0, 0]
const query = `subscription Events($channel: String!, $after: Cursor) {
  events(channel: $channel, after: $after) { id channel type source sequence cursor data }
}`

// As behind something that spreads requests: none has to come to the node that has the stream.
function fetchFn(url, init) {
  const { pathname, search } = new URL(url)
  return fetch(new URL(pathname + search, apis[turn++ % apis.length]), init)
}

const client = createClient({
  url: `${apis[0]}/graphql`,
  singleConnection: mode === 'single',
  headers: () => ({ Authorization: `Bearer ${token}` }),
  fetchFn,
  retryAttempts: 0,
  on: { connected: () => print({ connected: true }) },
})

async function receive() {
  for await (const result of client.iterate({ query, variables: { channel, after } })) {
    if (result.errors) {
      print({ error: result.errors })
      process.exit(1)
    }
    const event = result.data.events
    after = event.cursor
    print({ event })
    if (++received === count) return
  }
  print({ complete: true })
  process.exit(1)
}

do {
  try {
    await receive()
  } catch (broken) {
    print({ closed: broken.message })
    await pause(100)
  }
} while (received !== count || count === 0)
client.dispose()
