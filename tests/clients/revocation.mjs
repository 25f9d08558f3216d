// Measures how long what was revoked is still delivered, at two nodes and under a steady load: for each try there are
// subscribers with stock clients at both nodes, whose credentials are then revoked or narrowed by the admin API.
// Options: apis (two), adminKey, project, key (may publish), signing (see token.mjs), tries of each kind, perSecond.
// Prints a line for each try, `{kind, milliseconds, ends}`, and for each subscriber that is not concerned, `{bystander,
// missing, twice, errors}`.
import { createClient } from 'graphql-ws'
import { setTimeout as pause } from 'node:timers/promises'
import WebSocket from 'ws'
import { options, print } from './options.mjs'
import { sign } from './token.mjs'

const { apis, adminKey, project, key, signing, tries, perSecond } = options
const KINDS = ['keyRevoked', 'keyNarrowed', 'jti', 'subject']
// How many tries go on at once, and for how long nothing more may come after the last of them was cut.
const AT_ONCE = 20
const QUIET = 1500
const query = 'subscription Events($channel: String!) { events(channel: $channel) { data } }'

async function call(method, path, body, headers) {
  const answer = await fetch(path, {
    method, headers: { 'content-type': 'application/json', ...headers }, body: JSON.stringify(body),
  })
  if (!answer.ok) throw new Error(`${method} ${path} ${answer.status} ${await answer.text()}`)
  return answer.json()
}

const admin = (node, method, path, body) =>
  call(method, `${apis[node]}/admin/v1/projects/${project}${path}`, body, { authorization: `Bearer ${adminKey}` })

// One stock connection with a subscription for each channel; it does not come back, so that an end is an end.
class Connection {
  constructor(api, token, channels) {
    this.channels = channels.map((channel) => ({ channel, numbers: [], last: 0, end: null }))
    this.client = createClient({
      url: `${api.replace('http', 'ws')}/graphql`, webSocketImpl: WebSocket, connectionParams: { token },
      shouldRetry: () => false,
    })
    for (const each of this.channels) {
      this.client.subscribe({ query, variables: { channel: each.channel } }, {
        next: (result) => {
          each.last = performance.now()
          each.numbers.push(result.data.events.data.n)
        },
        error: (error) => (each.end ??= Array.isArray(error) ? error[0].extensions.code : `${error.code} ${error.reason}`),
        complete: () => (each.end ??= 'complete'),
      })
    }
  }

  // What is missing or came twice between its first number and the last one that it could have.
  judge(each, published) {
    const first = each.numbers[0]
    const twice = each.numbers.length - new Set(each.numbers).size
    const wanted = published.filter((n) => n >= first)
    const seen = new Set(each.numbers)
    const inOrder = each.numbers.every((n, at) => at === 0 || n > each.numbers[at - 1])
    return { missing: wanted.filter((n) => !seen.has(n)).length, twice: twice + (inOrder ? 0 : 1), end: each.end }
  }
}

// An event stream, read as it comes.
class Stream {
  constructor(api, token, channel) {
    this.channels = [{ channel, numbers: [], last: 0, end: null }]
    this.read(`${api}/v1/stream?channel=${channel}`, token, this.channels[0])
  }

  async read(url, token, each) {
    const answer = await fetch(url, { headers: { accept: 'text/event-stream', authorization: `Bearer ${token}` } })
    let text = ''
    for await (const chunk of answer.body.pipeThrough(new TextDecoderStream())) {
      const blocks = (text + chunk).split('\n\n')
      text = blocks.pop()
      for (const block of blocks) {
        if (block.includes('event: nuncio.goaway')) each.end ??= JSON.parse(block.split('data: ')[1].split('\n')[0]).reason
        else if (block.startsWith('id: ') && block.includes('\ndata: ')) {
          each.last = performance.now()
          each.numbers.push(JSON.parse(block.split('\ndata: ')[1]).data.n)
        }
      }
    }
    each.end ??= 'ended'
  }
}

const published = []
let publishing = true
async function publish() {
  const headers = { authorization: `Bearer ${key}` }
  const began = performance.now()
  for (let n = 1; publishing; n++) {
    const events = ['load.a', 'load.b'].map((channel) => ({ channel, data: { n } }))
    published.push(n)
    await call('POST', `${apis[n % 2]}/v1/events`, events, headers)
    await pause(Math.max(0, began + (n * 1000) / perSecond - performance.now()))
  }
  return (performance.now() - began) / 1000
}

const rights = { subscribe: ['load.a', 'load.b'] }
async function prepare(number) {
  const kind = KINDS[number % KINDS.length]
  const node = Math.floor(number / KINDS.length) % 2
  let token, revoke
  if (kind.startsWith('key')) {
    const made = await admin(node, 'POST', '/keys', { label: `try ${number}`, rights })
    token = made.secret
    revoke = kind === 'keyRevoked'
      ? () => admin(node, 'POST', `/keys/${made.id}:revoke`, {})
      : () => admin(node, 'PATCH', `/keys/${made.id}`, { rights: { subscribe: ['load.b'] } })
  } else {
    const [sub, jti] = [`user-${number}`, `token-${number}`]
    token = sign({ ...signing, sub, jti })
    revoke = () => admin(node, 'POST', '/revocations', kind === 'jti' ? { kind, jti } : { kind, subject: sub })
  }
  return { kind, token, revoke }
}

const until = async (what, holds, milliseconds) => {
  const end = performance.now() + milliseconds
  while (!holds()) {
    if (performance.now() > end) throw new Error(`in vain: ${what}`)
    await pause(20)
  }
}

// The other operation of a narrowed connection: it goes on.
const spared = (each, kind) => kind === 'keyNarrowed' && each.channel === 'load.b'

async function attempt(each) {
  await pause(Math.random() * 1000)
  each.began = performance.now()
  await each.revoke()
}

const bystanders = []
for (const api of apis) {
  bystanders.push({ name: 'a key', connection: new Connection(api, key, ['load.a', 'load.b']) })
  const token = sign({ ...signing, sub: 'bystander', jti: 'bystander' })
  bystanders.push({ name: 'a token', connection: new Connection(api, token, ['load.a', 'load.b']) })
  bystanders.push({ name: 'a stream', connection: new Stream(api, token, 'load.a') })
}
const publisher = publish()
const total = tries * KINDS.length
for (let first = 0; first < total; first += AT_ONCE) {
  const wave = []
  for (let number = first; number < Math.min(first + AT_ONCE, total); number++) wave.push(await prepare(number))
  // What was made at one node is known at the other within a second or so.
  await pause(2200)
  for (const each of wave) {
    each.connections = apis.map((api) => new Connection(api, each.token, ['load.a', 'load.b']))
    each.connections.push(...apis.map((api) => new Stream(api, each.token, 'load.a')))
  }
  const watched = (each) => each.connections.flatMap((connection) => connection.channels)
  await until('all to hear something', () => wave.every((each) => watched(each).every((one) => one.numbers.length > 5)), 20000)
  await Promise.all(wave.map(attempt))
  const cut = (each) => watched(each).every((one) => spared(one, each.kind) || one.end)
  await until('all to be cut', () => wave.every(cut), 20000)
  await pause(QUIET)
  for (const each of wave) {
    const concerned = watched(each).filter((one) => !spared(one, each.kind))
    const last = Math.max(...concerned.map((one) => one.last))
    const ends = [...new Set(concerned.map((one) => one.end))]
    print({ kind: each.kind, milliseconds: Math.max(0, last - each.began), ends })
  }
  for (const each of wave) {
    if (each.kind === 'keyNarrowed') bystanders.push(...each.connections.slice(0, apis.length).map((connection) =>
      ({ name: 'the other operation', connection, only: 'load.b' })))
  }
}
publishing = false
const seconds = await publisher
await pause(1500)
for (const { name, connection, only } of bystanders) {
  for (const each of connection.channels.filter((one) => !only || one.channel === only)) {
    const judge = Connection.prototype.judge(each, published)
    print({ bystander: name, received: each.numbers.length, ...judge })
  }
}
print({ published: published.length * 2, seconds, perSecond: (published.length * 2) / seconds })
process.exit(0)
