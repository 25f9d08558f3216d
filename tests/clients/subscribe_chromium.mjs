// Subscribes in a page of Chromium with its own EventSource, or with graphql-ws on its own WebSocket; both come back by
// themselves. Options: chromium, transport ("EventSource" or "WebSocket"), api, signing (a key for token.mjs, as a page
// has no API key), channel, after, resume, fault (for rude.mjs).
import { launch, openPage } from './browser.mjs'
import { options, print } from './options.mjs'
import { rude } from './rude.mjs'
import { sign } from './token.mjs'

const origin = 'https://app.example'
const { chromium, transport, api, signing, channel, after, fault } = options

function eventSource({ api, token, channel, after }) {
  const url = new URL(`${api}/v1/stream`)
  url.search = new URLSearchParams({ channel, after, access_token: token })
  const source = new EventSource(url)
  source.addEventListener('nuncio.ready', () => print({ connected: true }))
  source.addEventListener('nuncio.gap', (gap) => print({ gap: JSON.parse(gap.data) }))
  source.onerror = () => print({ broken: true, closed: source.readyState === EventSource.CLOSED })
  source.onmessage = (message) => print({ event: JSON.parse(message.data) })
}

function webSocket({ api, signing, fault, query, ...variables }) {
  const client = graphqlWs.createClient({
    url: `${api.replace('http', 'ws')}/graphql`,
    webSocketImpl: rude(WebSocket, fault),
    connectionParams: async () => ({ token: await sign(signing) }),
    on: {
      connected: () => print({ connected: true }),
      closed: ({ code, reason }) => print({ closed: code, reason }),
    },
  })
  client.subscribe({ query, variables }, {
    next: (result) => print(result.data ? { event: result.data.events } : { error: result.errors }),
    error: (error) => print({ error: error.code ? { code: error.code, reason: error.reason } : error }),
    complete: () => print({ complete: true }),
  })
}

const browser = await launch(chromium)
const page = await openPage(browser, origin)
print({ version: browser.version() })
await page.exposeFunction('print', print)
if (transport === 'EventSource') {
  await page.evaluate(eventSource, { api, token: sign(signing), channel, after })
} else {
  const { query, variables } = await import('./graphql_ws.mjs')
  await page.addScriptTag({ path: 'node_modules/graphql-ws/umd/graphql-ws.min.js' })
  await page.addScriptTag({ content: rude.toString() })
  await page.exposeFunction('sign', sign)
  await page.evaluate(webSocket, { api, signing, fault, query, ...variables })
}
