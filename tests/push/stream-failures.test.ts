/** What Redis may answer to a stream's transaction instead of taking it. OOM and WRONGTYPE: redis-stream.test.ts. */
import type { Redis } from 'ioredis'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { RedisDestination, RedisStreamOptions } from '../../src/push/index.ts'
import { startRedis, type TestServer } from '../support/servers.ts'
import { until } from '../support/until.ts'
import { expectArithmetic } from './contract.ts'
import { pushEvents } from './events.ts'
import { recordedLanes } from './recorded-lanes.ts'
import { adminOf, killClients, type LogLine, recordedLog } from './redis-subject.ts'
import { receivedFromStreams, startedStream } from './stream-subject.ts'

const NAMES = ['MESSAGE_CREATE', 'TYPING_START', 'GUILD_MEMBER_UPDATE']

let destination: RedisDestination | undefined
let lanes: ReturnType<typeof recordedLanes>
let lines: LogLine[]

beforeEach(() => {
  lanes = recordedLanes()
  lines = []
})

afterEach(async () => {
  await destination?.drain(0)
  destination = undefined
})

async function open(
  server: TestServer,
  given: Partial<RedisStreamOptions> = {},
): Promise<RedisDestination> {
  destination = await startedStream(server, { acks: lanes, log: recordedLog(lines), ...given })
  return destination
}

function push(from: number, to: number): void {
  for (const event of pushEvents(to - from + 1, { from, names: NAMES })) {
    destination!.push(event, -1, 0)
  }
}

/** Each event once, in the order of the shard: a transaction is taken or refused as a whole. */
async function expectEachOnce(admin: Redis, count: number): Promise<void> {
  await until(() => lanes.direct.through(0) === count)
  const arrived = await receivedFromStreams(admin)
  expect(arrived.map(({ sequence }) => sequence)).toEqual(
    Array.from({ length: count }, (_, index) => index + 1),
  )
  expectArithmetic(destination!)
}

describe('a stream of a Redis', () => {
  let server: TestServer
  let admin: Redis

  beforeAll(async () => {
    server = await startRedis({
      appendonly: true,
      args: ['--key-load-delay', '500', '--aof-use-rdb-preamble', 'no'],
    })
    admin = adminOf(server)
  })

  afterAll(async () => {
    admin.disconnect()
    await server.stop()
  })

  beforeEach(() => admin.flushall())

  const refusals: readonly {
    readonly code: string
    readonly cure: RegExp
    readonly begin: (redis: Redis) => Promise<unknown>
    readonly end: (redis: Redis) => Promise<unknown>
  }[] = [
    {
      code: 'READONLY',
      cure: /master/,
      begin: (redis) => redis.replicaof('127.0.0.1', 1),
      end: (redis) => redis.replicaof('NO', 'ONE'),
    },
    {
      code: 'NOPERM',
      cure: /ACL/,
      begin: (redis) => redis.acl('SETUSER', 'default', '-xadd'),
      end: (redis) => redis.acl('SETUSER', 'default', '+xadd'),
    },
  ]
  for (const { code, cure, begin, end } of refusals) {
    test(`that answers ${code}: nothing is acknowledged or lost, and it is said once, with the cure`, async () => {
      await open(server)
      push(1, 1)
      await until(() => lanes.direct.through(0) === 1)
      await begin(admin)
      push(2, 601)
      await until(() => destination!.stats().retries >= 3)
      expect(lanes.direct.through(0)).toBe(1)
      await end(admin)
      await expectEachOnce(admin, 601)
      const said = lines.filter(({ level, fields }) => level === 'error' && fields['code'] === code)
      expect(said.map(({ fields }) => [fields['key'], cure.test(String(fields['cure']))])).toEqual([
        ['gateway:stream:all', true],
      ])
      expect(lines.at(-1)).toMatchObject({ level: 'info', message: 'redis: takes events again' })
    })
  }

  test('that asks for a password after a reconnect (NOAUTH): events wait, and it is said', async () => {
    await open(server)
    await admin.config('SET', 'requirepass', 'secret')
    await killClients(admin)
    push(1, 10)
    await until(() => lines.some((line) => line.message.includes('login is refused')))
    expect(destination!.stats()).toMatchObject({ isUp: false, queuedEvents: 10 })
    await admin.config('SET', 'requirepass', '')
    await expectEachOnce(admin, 10)
  })

  test('that is LOADING its data after a crash: events wait until it has', async () => {
    await open(server)
    push(1, 300)
    await until(() => lanes.direct.through(0) === 300)
    // One command per value in the file, half a millisecond each: it loads for a while.
    for (let index = 0; index < 600; index++) void admin.rpush('ballast', index).catch(() => null)
    await admin.ping()
    await server.kill()
    const started = server.start()
    push(301, 600)
    await started
    await expectEachOnce(admin, 600)
    expect(server.log).toMatch(/DB loaded from/)
  })
})

describe('streams of a node of a Redis Cluster', () => {
  test('that answers MOVED: what it does not hold waits with the cure, the others go on', async () => {
    const args = ['--cluster-enabled', 'yes', '--cluster-require-full-coverage', 'no']
    const nodes = await Promise.all([startRedis({ args }), startRedis({ args })])
    const [one, two] = nodes.map(adminOf) as [Redis, Redis]
    try {
      const slotOf = async (name: string): Promise<number> =>
        Number(await one.cluster('KEYSLOT', `gateway:stream:${name}`))
      await two.cluster('ADDSLOTS', await slotOf('TYPING_START'))
      await one.cluster('ADDSLOTS', await slotOf('MESSAGE_CREATE'))
      await one.cluster('ADDSLOTS', await slotOf('GUILD_MEMBER_UPDATE'))
      await one.cluster('MEET', '127.0.0.1', nodes[1]!.port)
      await until(async () => String(await one.cluster('SLOTS')).includes(String(nodes[1]!.port)))
      // Until then it answers CLUSTERDOWN.
      const isUp = async (): Promise<boolean> =>
        String(await one.cluster('INFO')).includes('cluster_state:ok')
      await until(isUp)
      await open(nodes[0]!, { split: { by: 'event' } })
      push(1, 30)
      await until(
        () => destination!.stats().retries > 0 && destination!.stats().deliveredEvents === 20,
      )
      // The first TYPING_START is sequence 2.
      expect(lanes.direct.through(0)).toBe(1)
      const said = lines.filter(({ fields }) => fields['code'] === 'MOVED')
      expect(said.map(({ fields }) => fields['key'])).toEqual(['gateway:stream:TYPING_START'])
      expect(said[0]!.fields['cure']).toMatch(/Redis Cluster/)
      expect(await destination!.drain(50)).toMatchObject({ events: 10 })
    } finally {
      one.disconnect()
      two.disconnect()
      await Promise.all(nodes.map((node) => node.stop()))
    }
  })
})
