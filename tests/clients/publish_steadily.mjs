// Publishes numbered events with amqplib at a steady pace, and comes back when RabbitMQ does: what has no confirm by
// then is published again under the same ids, before anything new, so that order is kept.
// Options: amqp, exchange, channel, first, count, perSecond.
// Prints {"connected": true} for each connection; ends when everything is confirmed.
import { setTimeout as pause } from 'node:timers/promises'
import amqplib from 'amqplib'
import { options, print } from './options.mjs'

const { amqp, exchange, channel, first, count, perSecond } = options
const tick = 20
const unconfirmed = new Set()
let next = first

function isDone() {
  return next === first + count && unconfirmed.size === 0
}

// A set keeps the order in which its members came.
async function session() {
  const connection = await amqplib.connect(amqp)
  let broken = null
  const fail = (error) => (broken ??= error)
  connection.on('error', fail)
  connection.on('close', () => fail(new Error('the connection was closed')))
  const confirms = await connection.createConfirmChannel()
  confirms.on('error', fail)
  print({ connected: true })
  const publish = (n) => {
    const properties = { messageId: `steady-${n}`, appId: '/steady', contentType: 'application/json', persistent: true }
    const confirmed = (error) => (error ? fail(error) : unconfirmed.delete(n))
    confirms.publish(exchange, channel, Buffer.from(JSON.stringify({ n })), properties, confirmed)
  }
  unconfirmed.forEach(publish)
  while (!isDone() && !broken) {
    for (let room = (perSecond * tick) / 1000; room > 0 && next < first + count; room--) {
      unconfirmed.add(next)
      publish(next++)
    }
    await pause(tick)
  }
  await connection.close()
  if (broken) throw broken
}

while (!isDone()) {
  try {
    await session()
  } catch (broken) {
    console.error(broken.message)
    await pause(100)
  }
}
