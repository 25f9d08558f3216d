// Subscribes with Relay over graphql-ws, which comes back by itself. Options: see graphql_ws.mjs.
import relay from 'relay-runtime'
import { fail, fields, query, stockClient, variables } from './graphql_ws.mjs'
import { print } from './options.mjs'

const { Environment, Network, Observable, RecordSource, Store, requestSubscription } = relay
const socket = stockClient()

function subscribe(request, variables) {
  return Observable.create((sink) =>
    socket.subscribe({ operationName: request.name, query: request.text, variables }, sink),
  )
}

// What Relay's compiler makes of the subscription.
const names = Object.keys(variables)
const given = (name) => ({ kind: 'Variable', name, variableName: name })
const scalar = (name) => ({ alias: null, args: null, kind: 'ScalarField', name, storageKey: null })
const events = {
  alias: null,
  args: names.map(given),
  concreteType: 'Event',
  kind: 'LinkedField',
  name: 'events',
  plural: false,
  selections: fields.split(' ').map(scalar),
  storageKey: null,
}
const argumentDefinitions = names.map((name) => ({ defaultValue: null, kind: 'LocalArgument', name }))
const subscription = {
  kind: 'Request',
  fragment: {
    argumentDefinitions,
    kind: 'Fragment',
    metadata: null,
    name: 'Events',
    selections: [events],
    type: 'Subscription',
    abstractKey: null,
  },
  operation: { argumentDefinitions, kind: 'Operation', name: 'Events', selections: [events] },
  params: { id: null, cacheID: 'Events', metadata: {}, name: 'Events', operationKind: 'subscription', text: query },
}

const network = Network.create(() => fail({ message: 'there are no queries' }), subscribe)
const environment = new Environment({ network, store: new Store(new RecordSource()) })
requestSubscription(environment, {
  subscription,
  variables,
  onNext: ({ events }) => print({ event: events }),
  onError: fail,
})
