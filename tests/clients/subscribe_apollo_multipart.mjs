// Subscribes with Apollo Client's HttpLink, by multipart, and prints each event; comes back after the last cursor when
// the connection breaks. Options: api, token, channel, after (null: from now on), count (0: without end).
import { ApolloClient, gql, HttpLink, InMemoryCache } from '@apollo/client'
import { CombinedGraphQLErrors, CombinedProtocolErrors } from '@apollo/client/errors'
import { setTimeout as pause } from 'node:timers/promises'
import { options, print } from './options.mjs'

const { api, token, channel, count } = options
let { after } = options
let received = 0
const query = gql`subscription Events($channel: String!, $after: Cursor) {
  events(channel: $channel, after: $after) { id channel type source sequence cursor data }
}`

async function request(url, init) {
  const answer = await fetch(url, init)
  if (answer.ok) print({ connected: true })
  return answer
}

const link = new HttpLink({ uri: `${api}/graphql`, headers: { Authorization: `Bearer ${token}` }, fetch: request })
const client = new ApolloClient({ link, cache: new InMemoryCache() })

function fail(error) {
  print({ error: error.errors ?? error.message })
  process.exit(1)
}

// An answer that refuses the operation is a list of errors; everything else is a connection that broke.
const isRefusal = (error) => CombinedGraphQLErrors.is(error) || CombinedProtocolErrors.is(error)

function receive() {
  return new Promise((resolve, reject) => {
    let broken = false
    const running = client.subscribe({ query, variables: { channel, after }, fetchPolicy: 'no-cache' }).subscribe({
      next({ data, error }) {
        if (error) {
          if (isRefusal(error)) fail(error)
          broken = true
          return reject(error)
        }
        after = data.events.cursor
        print({ event: data.events })
        if (++received !== count) return
        running.unsubscribe()
        resolve()
      },
      // It completes also what has just failed.
      complete: () => broken || fail(new Error('the subscription is complete')),
    })
  })
}

do {
  try {
    await receive()
  } catch (broken) {
    print({ closed: broken.message })
    await pause(100)
  }
} while (received !== count || count === 0)
