/** Ping-pong from a Redis stream: any number of these processes share the group's events. */
import { consume, redisStream } from 'gateway/consumer'
import { pong } from './pong.ts'

const consumer = await consume({
  from: redisStream({
    redis: process.env['REDIS_URL'] ?? '127.0.0.1:6379',
    keys: ['gateway:stream:all'],
    group: 'ping-pong',
    begin: 'new',
  }),
  onEvent: async (event) => {
    if (event.t === 'MESSAGE_CREATE') await pong(event.d, 'redis-stream')
  },
})
console.log('ready')
process.once('SIGINT', () => void consumer.stop()).once('SIGTERM', () => void consumer.stop())
