// What the scripts around graphql-ws share: the subscription, and the client as its users get it, which comes back by
// itself and sends the same variables again.
// Options: api, token (or signing: a key for token.mjs), channel, after (null: from now on), resume (an id, where the
// server is to remember the place), fault (for rude.mjs).
import { createClient } from 'graphql-ws'
import WebSocket from 'ws'
import { options, print } from './options.mjs'
import { rude } from './rude.mjs'
import { sign } from './token.mjs'

const { api, token, signing, channel, after, resume, fault } = options

export const fields = 'id channel type source sequence cursor data'
export const query = `subscription Events($channel: String!, $after: Cursor, $resume: ID) {
  events(channel: $channel, after: $after, resume: $resume) { ${fields} }
}`
export const variables = { channel, after, resume }

export function stockClient() {
  return createClient({
    url: `${api.replace('http', 'ws')}/graphql`,
    webSocketImpl: rude(WebSocket, fault),
    connectionParams: () => ({ token: token ?? sign(signing) }),
    on: {
      connected: () => print({ connected: true }),
      closed: (event) => print({ closed: event.code, reason: event.reason }),
    },
  })
}

// The end that a library cannot mend: a close event, the errors of an answer, or what the library makes of them.
export function fail(error) {
  print({ error: error.code ? { code: error.code, reason: error.reason } : (error.message ?? error) })
  process.exit(1)
}
