import { destinationContract } from './contract.ts'
import { piped, receivedIn } from './stdout-subject.ts'

destinationContract('stdout', async (options) => {
  const { destination, reader, lines, close } = piped(options)
  await destination.start()
  return {
    destination,
    keepsShardOrder: true,
    received: async () => receivedIn(await lines()),
    stall: async () => void reader.kill('SIGSTOP'),
    go: async () => void reader.kill('SIGCONT'),
    close,
  }
})
