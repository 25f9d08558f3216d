// Subscribes with graphql-ws as it comes, and sends `refreshToken` over the same connection before the token expires.
// Options: api, signing (see token.mjs; `seconds` is the life of each token), channel, refresh (whether to do so).
import { createClient } from 'graphql-ws'
import WebSocket from 'ws'
import { options, print } from './options.mjs'
import { sign } from './token.mjs'

const { api, signing, channel, refresh } = options
const client = createClient({
  url: `${api.replace('http', 'ws')}/graphql`,
  webSocketImpl: WebSocket,
  connectionParams: () => ({ token: sign(signing) }),
  on: {
    connected: () => print({ connected: true, at: Date.now() }),
    closed: (event) => print({ closed: event.code, reason: event.reason, at: Date.now() }),
  },
})
const failed = (error) => print({ error: Array.isArray(error) ? error[0].message : `${error.code} ${error.reason}` })
client.subscribe(
  { query: 'subscription Events($channel: String!) { events(channel: $channel) { data } }', variables: { channel } },
  { next: (result) => print({ event: result.data.events.data }), error: failed, complete: () => print({ complete: true }) },
)
if (refresh) {
  setInterval(() => {
    client.subscribe(
      { query: 'mutation Refresh($token: String!) { refreshToken(token: $token) }', variables: { token: sign(signing) } },
      { next: (result) => print({ refreshed: result.data.refreshToken }), error: failed, complete: () => {} },
    )
  }, (signing.seconds * 1000) / 2)
}
