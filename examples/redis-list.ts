/** Ping-pong from a Redis list: an event is moved to a processing list until it is handled. */
import { consume, redisList } from 'gateway/consumer'
import { pong } from './pong.ts'

const consumer = await consume({
  from: redisList({
    redis: process.env['REDIS_URL'] ?? '127.0.0.1:6379',
    events: ['MESSAGE_CREATE'],
  }),
  onEvent: async (event) => {
    if (event.t === 'MESSAGE_CREATE') await pong(event.d, 'redis-list')
  },
})
console.log('ready')
process.once('SIGINT', () => void consumer.stop()).once('SIGTERM', () => void consumer.stop())
