// Uses GraphiQL as a person does: opens it, gives the key, runs a query, then a subscription, and sees an event come.
// Options: api, token, chromium, channel, and picture: a file for a picture of the page at its end.
// Prints {"query": text of the answer}, {"live": text of the event's answer}, and at its end
// {"requests": URLs, "sockets": URLs, "errors": what the browser's console told}.
import { launch } from './browser.mjs'
import { options, print } from './options.mjs'

const { api, token, chromium, channel, picture } = options
const browser = await launch(chromium)
const page = await browser.newPage({ viewport: { width: 1400, height: 800 } })
const [requests, sockets, errors] = [[], [], []]
page.on('request', (request) => requests.push(request.url()))
page.on('websocket', (socket) => sockets.push(socket.url()))
page.on('console', (message) => message.type() === 'error' && errors.push(message.text()))
page.on('pageerror', (error) => errors.push(String(error)))

// GraphiQL takes up what was typed after a moment; then the tab has the operation's name.
async function execute(name, document) {
  await page.locator('.graphiql-query-editor .CodeMirror').click()
  await page.keyboard.press('ControlOrMeta+A')
  await page.keyboard.insertText(document)
  await page.getByRole('tab', { name }).waitFor()
  await page.keyboard.press('ControlOrMeta+Enter')
}

// What the answer's editor shows, once that is in it.
async function answer(part) {
  const shown = page.locator('.result-window .CodeMirror-code')
  await shown.filter({ hasText: part }).waitFor()
  return shown.innerText()
}

await page.goto(`${api}/graphql`)
await page.getByLabel('API key or token').fill(token)
await page.getByRole('button', { name: 'Use' }).click()
// The schema is there when the documentation can list its roots.
await page.getByRole('button', { name: 'Show Documentation Explorer' }).click()
await page.getByRole('link', { name: 'Subscription' }).waitFor()

await execute('Newest', 'query Newest { cursor }')
const newest = await answer('"cursor"')
print({ query: newest })

const [, cursor] = /"cursor": "([^"]+)"/.exec(newest)
await execute('Live', `subscription Live { events(channel: "${channel}", after: "${cursor}") { type data } }`)
await page.getByRole('button', { name: /Stop query/ }).waitFor()
const event = { type: 'seen.live', data: { greeting: 'hello, GraphiQL' } }
const published = await fetch(`${api}/v1/channels/${channel}/events`, {
  method: 'POST',
  headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
  body: JSON.stringify(event),
})
if (!published.ok) throw new Error(await published.text())
print({ live: await answer('hello, GraphiQL') })

if (picture) await page.screenshot({ path: picture })
await browser.close()
print({ requests, sockets, errors })
