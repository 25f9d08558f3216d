// Subscribes with urql over graphql-ws, which comes back by itself. Options: see graphql_ws.mjs.
import { Client, subscriptionExchange } from '@urql/core'
import { fail, query, stockClient, variables } from './graphql_ws.mjs'
import { options, print } from './options.mjs'

const socket = stockClient()
const forwardSubscription = (request) => ({
  subscribe: (sink) => ({ unsubscribe: socket.subscribe({ ...request, query: request.query ?? '' }, sink) }),
})
const client = new Client({
  url: `${options.api}/graphql`,
  exchanges: [subscriptionExchange({ forwardSubscription })],
  preferGetMethod: false,
})
client.subscription(query, variables).subscribe((result) => {
  if (result.error) fail(result.error.networkError ?? result.error.graphQLErrors)
  print({ event: result.data.events })
})
