/** Ping-pong from the gateway itself, by gRPC: no other server in between. */
import { consume, grpcSubscription } from 'gateway/consumer'
import { pong } from './pong.ts'

const consumer = await consume({
  from: grpcSubscription({
    address: process.env['GATEWAY'] ?? '127.0.0.1:50051',
    name: 'ping-pong',
    subscription: 'ping-pong',
    events: ['MESSAGE_CREATE'],
  }),
  onEvent: async (event) => {
    if (event.t === 'MESSAGE_CREATE') await pong(event.d, 'grpc')
  },
})
console.log('ready')
process.once('SIGINT', () => void consumer.stop()).once('SIGTERM', () => void consumer.stop())
