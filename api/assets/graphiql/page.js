// Puts GraphiQL together: queries and mutations go by POST, subscriptions by graphql-transport-ws, all to the address
// of this page, with the key or token of the bar. What stands in the headers editor goes before it.
'use strict'

const { createElement, useMemo, useState } = React

const address = new URL(location.pathname, location.href)
const socket = Object.assign(new URL(address), { protocol: address.protocol.replace('http', 'ws') })

const example = `# Give an API key or a token above, then try:
subscription Live {
  events(channel: "#", last: 10) {
    channel
    type
    data
    cursor
  }
}

query Newest {
  cursor
}
`

function Credentials({ onUse }) {
  const submit = (event) => {
    event.preventDefault()
    onUse(event.target.elements.credentials.value.trim())
  }
  return createElement(
    'form',
    { className: 'credentials', onSubmit: submit },
    createElement('label', { htmlFor: 'credentials' }, 'API key or token'),
    createElement('input', {
      id: 'credentials',
      type: 'password',
      autoComplete: 'off',
      placeholder: 'nk_… or a JWT; forgotten with this page',
    }),
    createElement('button', null, 'Use'),
  )
}

function Page() {
  const [credentials, use] = useState('')
  const fetcher = useMemo(() => {
    const headers = credentials ? { Authorization: `Bearer ${credentials}` } : {}
    return GraphiQL.createFetcher({
      url: address.href,
      subscriptionUrl: socket.href,
      headers,
      wsConnectionParams: headers,
    })
  }, [credentials])
  return createElement(
    React.Fragment,
    null,
    createElement(Credentials, { onUse: use }),
    createElement(GraphiQL, {
      fetcher,
      // Nobody may ask for the schema without credentials.
      schema: credentials ? undefined : null,
      defaultQuery: example,
      shouldPersistHeaders: false,
      showPersistHeadersSettings: false,
    }),
  )
}

ReactDOM.createRoot(document.getElementById('page')).render(createElement(Page))
