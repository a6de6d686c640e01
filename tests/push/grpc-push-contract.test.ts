import { destinationContract } from './contract.ts'
import { startedPush, TestConsumer } from './grpc-push-subject.ts'

// By stream; `push` is the same destination with a call for each event, and too slow for thousands: grpc-push.test.ts.
destinationContract('gRPC push', async (options) => {
  const consumer = new TestConsumer()
  await consumer.start()
  const destination = await startedPush([consumer], options)
  return {
    destination,
    keepsShardOrder: true,
    received: async () => consumer.received(),
    stall: async () => consumer.stall(),
    go: async () => consumer.go(),
    close: async () => {
      await destination.drain(0)
      consumer.stop()
    },
  }
})
