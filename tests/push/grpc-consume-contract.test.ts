import { destinationContract } from './contract.ts'
import { listen, receivedBy } from './grpc-subject.ts'

/** SLOW_POLICY_BLOCK: the destination's policy decides, not the subscription's. */
const BLOCK = 2

// One durable subscription whose stream acknowledges what it gets, a turn of the event loop at a time.
destinationContract('gRPC Consume', async (options) => {
  const { destination, consume, close } = await listen(options)
  const client = await consume({ subscription: 'contract', when_slow: BLOCK })
  let acknowledged = 0
  let isStalled = false
  const acknowledge = (): void => {
    const number = Number(client.events.at(-1)?.number ?? 0)
    if (isStalled || number === acknowledged) return
    acknowledged = number
    client.acknowledge(number)
  }
  const timer = setInterval(acknowledge, 1)
  return {
    destination,
    keepsShardOrder: true,
    received: () => receivedBy(client, destination),
    stall: async () => {
      isStalled = true
    },
    go: async () => {
      isStalled = false
    },
    close: async () => {
      clearInterval(timer)
      await close()
    },
  }
})
