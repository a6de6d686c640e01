import { destinationContract } from './contract.ts'
import { startedPush, TestConsumer } from './grpc-push-subject.ts'

for (const method of ['stream', 'push'] as const) {
  destinationContract(`gRPC ${method}`, async (options) => {
    const consumer = new TestConsumer()
    await consumer.start()
    const destination = await startedPush([consumer], { ...options, method })
    return {
      destination,
      keepsShardOrder: true,
      received: async () => (method === 'stream' ? consumer.received() : consumer.receivedByPush()),
      stall: async () => consumer.stall(),
      go: async () => consumer.go(),
      close: async () => {
        await destination.drain(0)
        consumer.stop()
      },
    }
  })
}
