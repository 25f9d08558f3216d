// Subscribes with graphql-ws as it comes: it comes back by itself with the variables it has, and the server knows by
// `resume` where it was. Options: see graphql_ws.mjs.
import { fail, query, stockClient, variables } from './graphql_ws.mjs'
import { print } from './options.mjs'

stockClient().subscribe({ query, variables }, {
  next: (result) => print(result.data ? { event: result.data.events } : { error: result.errors }),
  error: fail,
  complete: () => print({ complete: true }),
})
