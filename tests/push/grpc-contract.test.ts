import { destinationContract } from './contract.ts'
import { listen, receivedBy } from './grpc-subject.ts'

destinationContract('gRPC Subscribe', async (options) => {
  const { destination, subscribe, close } = await listen(options)
  const client = await subscribe()
  return {
    destination,
    keepsShardOrder: true,
    received: () => receivedBy(client, destination),
    stall: async () => {
      client.stream.pause()
    },
    go: async () => {
      client.stream.resume()
    },
    close,
  }
})
