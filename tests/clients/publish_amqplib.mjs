// Publishes numbered events with amqplib on a confirm channel, and says which numbers RabbitMQ has confirmed.
// Options: amqp, exchange, channel, first, count, anonymous (without ids).
// Prints {"confirmed": n} for each, in the order of the confirms; ends with 1 when the connection breaks.
import { once } from 'node:events'
import amqplib from 'amqplib'
import { options, print } from './options.mjs'

const { amqp, exchange, channel, first, count, anonymous } = options
const connection = await amqplib.connect(amqp)
connection.on('error', (error) => {
  console.error(error.message)
  process.exit(1)
})
const confirms = await connection.createConfirmChannel()
for (let n = first; n < first + count; n++) {
  const properties = {
    messageId: anonymous ? undefined : `amqplib-${n}`,
    appId: '/amqplib',
    type: 'test.numbered',
    contentType: 'application/json',
    persistent: true,
  }
  const body = Buffer.from(JSON.stringify({ n }))
  const hasRoom = confirms.publish(exchange, channel, body, properties, (error) => {
    if (error) throw error
    print({ confirmed: n })
  })
  if (!hasRoom) await once(confirms, 'drain')
}
await confirms.waitForConfirms()
await connection.close()
