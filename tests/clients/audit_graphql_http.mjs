// Runs the server audits of graphql-http, which check GraphQL over HTTP against its specification.
// Options: api, token.
// Prints {"audit": id, "name", "status": "ok" | "notice" | "warn" | "error", "reason"} for each.
import { serverAudits } from 'graphql-http'
import { options, print } from './options.mjs'

const { api, token } = options

// The audits know nothing of credentials; nothing else of their requests is touched.
function fetchFn(url, init) {
  return fetch(url, { ...init, headers: { ...init?.headers, authorization: `Bearer ${token}` } })
}

for (const audit of serverAudits({ url: `${api}/graphql`, fetchFn })) {
  const { status, reason = null } = await audit.fn()
  print({ audit: audit.id, name: audit.name, status, reason })
}
