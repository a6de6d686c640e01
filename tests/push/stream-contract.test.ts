import type { Redis } from 'ioredis'
import { afterAll, beforeAll } from 'vitest'
import { startRedis, type TestServer } from '../support/servers.ts'
import { destinationContract } from './contract.ts'
import { adminOf } from './redis-subject.ts'
import { receivedFromStreams, startedStream } from './stream-subject.ts'

let server: TestServer
let admin: Redis

beforeAll(async () => {
  server = await startRedis()
  admin = adminOf(server)
})

afterAll(async () => {
  admin.disconnect()
  await server.stop()
})

destinationContract('Redis stream', async (options) => {
  await admin.flushall()
  const destination = await startedStream(server, options)
  return {
    destination,
    keepsShardOrder: true,
    received: () => receivedFromStreams(admin),
    stall: async () => server.freeze(),
    go: async () => server.thaw(),
    close: async () => {
      await destination.drain(0)
    },
  }
})
