// A WebSocket that breaks one rule of graphql-transport-ws on behalf of a client that keeps them all, so that the client
// meets the close code for it. It also goes into pages as a text, so it uses nothing of this file.
export function rude(WebSocket, fault) {
  if (!fault) return WebSocket
  let connections = 0
  return class extends WebSocket {
    constructor(url, protocols) {
      super(url, ...(fault === 'no subprotocol' ? [] : [protocols]))
      connections += 1
    }

    send(message) {
      const { type } = JSON.parse(message)
      if (type === 'connection_init') {
        // The server waits for it in vain, once.
        if (fault === 'no init' && connections === 1) return
        if (fault === 'subscribe before init') message = '{"id":"1","type":"subscribe","payload":{"query":"{ cursor }"}}'
        if (fault === 'second init') super.send(message)
      } else if (type === 'subscribe') {
        if (fault === 'unknown message') message = '{"type":"order"}'
        if (fault === 'duplicate id') super.send(message)
      }
      super.send(message)
    }
  }
}
