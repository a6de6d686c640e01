/** A bot of @discordjs/core: `gateway` stands where its WebSocketManager stood, the rest is as before. */
import { Client, GatewayDispatchEvents } from '@discordjs/core'
import { grpcSubscription } from 'gateway/consumer'
import { DiscordjsGateway } from 'gateway/discordjs'
import { pong, rest } from './pong.ts'

const address = process.env['GATEWAY'] ?? '127.0.0.1:50051'
const gateway = new DiscordjsGateway({
  from: grpcSubscription({
    address,
    name: 'discordjs',
    subscription: 'discordjs',
    events: ['MESSAGE_CREATE'],
  }),
  commands: { address },
  handled: () => client.waitForAllListenersToComplete(),
})
const client: Client = new Client({ rest, gateway })

client.on(GatewayDispatchEvents.MessageCreate, async ({ data }) => {
  await pong(data, 'discordjs')
})

await gateway.connect()
console.log('ready')
process.once('SIGINT', () => void gateway.destroy()).once('SIGTERM', () => void gateway.destroy())
