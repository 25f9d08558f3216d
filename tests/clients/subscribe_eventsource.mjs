// Subscribes with EventSource and prints each event; the library itself comes back with Last-Event-ID.
// Options: api, token, channel, after (null: from now on), count (0: without end).
import { EventSource } from 'eventsource'
import { options, print } from './options.mjs'

const { api, token, channel, after, count } = options
let received = 0

// A page that is opened again knows its cursor, but an EventSource does not yet: so the first request names it.
function request(url, init) {
  const headers = { ...init.headers, Authorization: `Bearer ${token}` }
  if (after && !headers['Last-Event-ID']) headers['Last-Event-ID'] = after
  return fetch(url, { ...init, headers })
}

const source = new EventSource(`${api}/v1/stream?channel=${encodeURIComponent(channel)}`, { fetch: request })
source.addEventListener('nuncio.ready', (ready) => print({ ready: JSON.parse(ready.data) }))
source.addEventListener('nuncio.gap', (gap) => print({ gap: JSON.parse(gap.data) }))
source.addEventListener('nuncio.goaway', (goaway) => print({ goaway: JSON.parse(goaway.data) }))
source.onerror = () => print({ broken: true, closed: source.readyState === EventSource.CLOSED })
source.onmessage = (message) => {
  if (received === count && count > 0) return
  print({ event: JSON.parse(message.data), lastEventId: message.lastEventId })
  if (++received === count) source.close()
}
