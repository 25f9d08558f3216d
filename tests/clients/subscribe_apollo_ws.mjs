// Subscribes with Apollo Client over graphql-ws, which comes back by itself. Options: see graphql_ws.mjs.
import { ApolloClient, gql, InMemoryCache } from '@apollo/client'
import { GraphQLWsLink } from '@apollo/client/link/subscriptions'
import { fail, query, stockClient, variables } from './graphql_ws.mjs'
import { print } from './options.mjs'

const client = new ApolloClient({ link: new GraphQLWsLink(stockClient()), cache: new InMemoryCache() })
client.subscribe({ query: gql(query), variables }).subscribe({
  next: ({ data, error }) => (error ? fail(error) : print({ event: data.events })),
  error: fail,
})
