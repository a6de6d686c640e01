import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { requireServerBinary } from '../support/binaries.ts'
import { ServerProcess } from '../support/server-process.ts'
import { startRedis, type TestServer } from '../support/servers.ts'
import { until } from '../support/until.ts'
import { pushEvents } from './events.ts'
import { recordedLanes } from './recorded-lanes.ts'
import { adminOf, redisOptions } from './redis-subject.ts'
import { type RedisDestination, redisList } from '../../src/push/index.ts'

let master: TestServer
let replica: TestServer
let sentinel: ServerProcess
let admins: Redis[]
let destination: RedisDestination | undefined

beforeEach(async () => {
  master = await startRedis()
  replica = await startRedis({ args: ['--replicaof', '127.0.0.1', String(master.port)] })
  admins = [adminOf(master), adminOf(replica)]
  await until(async () => (await admins[1]!.info('replication')).includes('master_link_status:up'))
  sentinel = await ServerProcess.launch({
    name: 'sentinel',
    command: requireServerBinary('redis'),
    args: (port, dataDir) => {
      const file = join(dataDir, 'sentinel.conf')
      const settings = [
        `port ${port}`,
        'bind 127.0.0.1',
        `sentinel monitor mymaster 127.0.0.1 ${master.port} 1`,
        'sentinel down-after-milliseconds mymaster 300',
        'sentinel failover-timeout mymaster 2000',
      ]
      writeFileSync(file, `${settings.join('\n')}\n`)
      return [file, '--sentinel', '--dir', dataDir]
    },
    readyPattern: /\+monitor master mymaster/,
    portTakenPattern: /Address already in use|bind: /,
    stopSignal: 'SIGTERM',
  })
})

afterEach(async () => {
  await destination?.drain(0)
  destination = undefined
  for (const admin of admins) admin.disconnect()
  await sentinel.stop()
  await replica.stop()
  await master.stop()
})

test('a Redis list finds the master by its sentinels, and the new one after a failover', async () => {
  const asked = new Redis(sentinel.port, { maxRetriesPerRequest: null })
  const replicas = async (): Promise<unknown[]> =>
    (await asked.call('sentinel', 'replicas', 'mymaster')) as unknown[]
  await until(async () => (await replicas()).length === 1)
  asked.disconnect()
  const acks = recordedLanes()
  // The first of the sentinels is not there.
  const address = `redis+sentinel://127.0.0.1:1,127.0.0.1:${sentinel.port}/mymaster`
  destination = redisList(redisOptions(address, { acks }))
  await destination.start()
  for (const event of pushEvents(100)) destination.push(event, -1, 0)
  await until(() => acks.direct.isIdle)
  expect(await admins[0]!.wait(1, 5000)).toBe(1)
  await master.kill()
  for (const event of pushEvents(100, { from: 101 })) destination.push(event, -1, 0)
  await until(() => acks.direct.isIdle, { timeoutMs: 25_000 })
  const { length } = await admins[1]!.lrange('gateway:events:MESSAGE_CREATE', 0, -1)
  expect(length).toBe(200)
  expect(await admins[1]!.info('replication')).toContain('role:master')
}, 40_000)
