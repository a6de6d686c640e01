import type { Redis } from 'ioredis'
import { afterAll, beforeAll } from 'vitest'
import { startRedis, type TestServer } from '../support/servers.ts'
import { destinationContract } from './contract.ts'
import { adminOf, receivedFrom, startedRedis } from './redis-subject.ts'

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

for (const marks of [undefined, 'fleet']) {
  destinationContract(
    marks === undefined ? 'Redis list' : 'Redis list with marks',
    async (options) => {
      await admin.flushall()
      const destination = await startedRedis(server, { ...options, marks })
      return {
        destination,
        keepsShardOrder: false,
        received: () => receivedFrom(admin),
        stall: async () => server.freeze(),
        go: async () => server.thaw(),
        close: async () => {
          await destination.drain(0)
        },
      }
    },
  )
}
