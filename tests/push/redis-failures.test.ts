import type { Redis } from 'ioredis'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { PushDrop, RedisDestination, RedisListOptions } from '../../src/push/index.ts'
import { type RedisOptions, startRedis, type TestServer } from '../support/servers.ts'
import { until } from '../support/until.ts'
import { expectArithmetic, expectOrder, identity } from './contract.ts'
import { pushEvent, pushEvents } from './events.ts'
import { recordedLanes } from './recorded-lanes.ts'
import {
  adminOf,
  killClients,
  type LogLine,
  receivedFrom,
  recordedLog,
  startedRedis,
} from './redis-subject.ts'

const NAMES = ['MESSAGE_CREATE', 'TYPING_START', 'GUILD_MEMBER_UPDATE']

describe('Redis list', () => {
  let server: TestServer
  let admin: Redis
  let destination: RedisDestination | undefined
  let lines: LogLine[]
  let drops: PushDrop[]
  let lanes: ReturnType<typeof recordedLanes>

  async function open(
    options: RedisOptions = {},
    given: Partial<RedisListOptions> = {},
  ): Promise<RedisDestination> {
    server = await startRedis(options)
    admin = adminOf(server)
    destination = await startedRedis(server, {
      acks: lanes,
      log: recordedLog(lines),
      onDrop: (drop) => drops.push(drop),
      ...given,
    })
    return destination
  }

  beforeEach(() => {
    lines = []
    drops = []
    lanes = recordedLanes()
  })

  afterEach(async () => {
    await destination?.drain(0)
    destination = undefined
    admin.disconnect()
    await server.stop()
  })

  const linesOf = (message: string): LogLine[] => lines.filter((line) => line.message === message)

  /** Pushes a steady stream of three names over two shards until told to stop. */
  async function streamWhile(work: () => Promise<void>): Promise<number> {
    let sequence = 0
    let isOver = false
    const stream = (async () => {
      while (!isOver) {
        // In bursts of several flushes, as long as there is room.
        for (let index = 0; index < 700 && destination!.isHalfFree; index++) {
          sequence++
          for (const shardId of [0, 1]) {
            const eventName = NAMES[sequence % 3]!
            destination!.push(pushEvent({ shardId, sequence, eventName }), -1, 0)
          }
        }
        await new Promise((resolve) => setTimeout(resolve, 2))
      }
    })()
    await work()
    isOver = true
    await stream
    await until(() => lanes.direct.isIdle, { what: 'everything acknowledged' })
    return sequence
  }

  async function expectAll(sequence: number): Promise<void> {
    const arrived = await receivedFrom(admin)
    expectOrder(arrived, false)
    expect(new Set(arrived.map(identity)).size).toBe(2 * sequence)
    expectArithmetic(destination!)
    expect(drops).toEqual([])
  }

  test('loses nothing and keeps order when its connection is killed ten times', async () => {
    await open()
    const sequence = await streamWhile(async () => {
      for (let kill = 0; kill < 10; kill++) {
        expect(await killClients(admin)).toBe(1)
        await until(() => linesOf('redis: connected again').length === kill + 1)
      }
    })
    await expectAll(sequence)
    expect(linesOf('redis: no connection, trying again').length).toBe(10)
    expect(linesOf('redis: connected again').length).toBe(10)
  })

  test('loses nothing when a Redis that syncs each write is killed and started again', async () => {
    await open({ appendonly: true })
    const sequence = await streamWhile(async () => {
      for (let kill = 0; kill < 2; kill++) {
        const { deliveredEvents } = destination!.stats()
        await until(() => destination!.stats().deliveredEvents > deliveredEvents + 100)
        await server.kill()
        await server.start()
      }
    })
    await expectAll(sequence)
  })

  test('waits for a Redis that is loading its data', async () => {
    await open({
      appendonly: true,
      args: ['--key-load-delay', '500', '--aof-use-rdb-preamble', 'no'],
    })
    for (const event of pushEvents(300)) destination!.push(event, -1, 0)
    await until(() => lanes.direct.isIdle)
    // One command per value in the file, half a millisecond each: it loads for a while.
    for (let index = 0; index < 1000; index++) void admin.rpush('ballast', index).catch(() => null)
    await admin.ping()
    await server.kill()
    const started = server.start()
    for (const event of pushEvents(300, { from: 301 })) destination!.push(event, -1, 0)
    await started
    await until(() => lanes.direct.through(0) === 600)
    expectOrder(await receivedFrom(admin), false)
    expect(server.log).toMatch(/DB loaded from/)
  })

  test('breaks a connection that no longer answers, and sends again', async () => {
    await open({}, { commandTimeoutMs: 200 })
    server.freeze()
    for (const event of pushEvents(3000)) destination!.push(event, -1, 0)
    await until(() => destination!.stats().retries > 0)
    expect(lanes.direct.through(0)).toBe(0)
    server.thaw()
    await until(() => lanes.direct.through(0) === 3000)
    const arrived = await receivedFrom(admin)
    expectOrder(arrived, false)
    expect(new Set(arrived.map(identity)).size).toBe(3000)
  })

  test('tries a key of the wrong type again and again while the others go on', async () => {
    await open()
    await admin.set('gateway:events:TYPING_START', 'not a list')
    for (const event of pushEvents(900, { names: NAMES })) destination!.push(event, -1, 0)
    await until(() => destination!.stats().deliveredEvents === 600)
    // The first TYPING_START is sequence 2: nothing behind it may look acknowledged.
    expect(lanes.direct.through(0)).toBe(1)
    expect(destination!.stats().queuedEvents).toBe(300)
    await until(() => destination!.stats().retries >= 3)
    const refused = lines.filter((line) => line.fields['code'] === 'WRONGTYPE')
    expect(refused.length).toBe(1)
    expect(refused[0]!.level).toBe('error')
    expect(refused[0]!.fields).toMatchObject({ key: 'gateway:events:TYPING_START' })
    expect(refused[0]!.fields['cure']).toMatch(/delete or rename/)
    await admin.del('gateway:events:TYPING_START')
    await until(() => lanes.direct.through(0) === 900)
    expectOrder(await receivedFrom(admin), false)
    expectArithmetic(destination!)
    expect(lines.at(-1)).toMatchObject({ level: 'info', message: 'redis: takes events again' })
  })

  const refusals: readonly {
    readonly code: string
    readonly begin: (admin: Redis) => Promise<unknown>
    readonly end: (admin: Redis) => Promise<unknown>
  }[] = [
    {
      code: 'OOM',
      begin: (redis) => redis.config('SET', 'maxmemory', '1'),
      end: (redis) => redis.config('SET', 'maxmemory', '0'),
    },
    {
      code: 'READONLY',
      begin: (redis) => redis.replicaof('127.0.0.1', 1),
      end: (redis) => redis.replicaof('NO', 'ONE'),
    },
    {
      code: 'NOPERM',
      begin: (redis) => redis.acl('SETUSER', 'default', '-rpush'),
      end: (redis) => redis.acl('SETUSER', 'default', '+rpush'),
    },
  ]
  for (const { code, begin, end } of refusals) {
    test(`keeps everything while Redis answers ${code}, and says so once`, async () => {
      await open()
      destination!.push(pushEvent({ sequence: 1 }), -1, 0)
      await until(() => lanes.direct.through(0) === 1)
      await begin(admin)
      for (const event of pushEvents(600, { from: 2, names: NAMES })) {
        destination!.push(event, -1, 0)
      }
      await until(() => destination!.stats().retries >= 4)
      expect(lanes.direct.through(0)).toBe(1)
      await end(admin)
      await until(() => lanes.direct.through(0) === 601)
      const arrived = await receivedFrom(admin)
      expectOrder(arrived, false)
      expect(new Set(arrived.map(identity)).size).toBe(601)
      expect(
        lines.filter((line) => line.fields['code'] === code && line.level === 'error').length,
      ).toBe(1)
      expectArithmetic(destination!)
    })
  }

  test('keeps everything while the login is refused after a reconnect, and says so', async () => {
    await open()
    await admin.config('SET', 'requirepass', 'secret')
    await killClients(admin)
    for (const event of pushEvents(10)) destination!.push(event, -1, 0)
    await until(() => lines.some((line) => line.message.includes('login is refused')))
    expect(destination!.stats()).toMatchObject({ isUp: false, queuedEvents: 10 })
    await admin.config('SET', 'requirepass', '')
    await until(() => lanes.direct.through(0) === 10)
  })

  test('drops a payload that the server can never take, counted, and goes on', async () => {
    await open({ args: ['--proto-max-bulk-len', '1mb'] })
    destination!.push(pushEvent({ sequence: 1 }), -1, 0)
    destination!.push(pushEvent({ sequence: 2, d: 'z'.repeat(2 * 1024 * 1024) }), -1, 0)
    for (const event of pushEvents(20, { from: 3, names: NAMES })) destination!.push(event, -1, 0)
    await until(() => lanes.direct.through(0) === 22)
    expect(drops).toEqual([
      {
        destination: 'redis',
        shardId: 0,
        sessionId: 'session-a',
        sequence: 2,
        eventName: 'MESSAGE_CREATE',
        cause: 'refused',
      },
    ])
    expectArithmetic(destination!)
    expectOrder(await receivedFrom(admin), false)
  })

  test('holds no more memory than it should for a key that is refused among others that flow', async () => {
    await open({}, { limits: { eventsMax: 100_000, bytesMax: 8 * 1024 * 1024 } })
    await admin.set('gateway:events:TYPING_START', 'not a list')
    let sequence = 0
    for (let round = 0; round < 60; round++) {
      for (let index = 0; index < 300; index++) {
        const eventName = index === 0 ? 'TYPING_START' : 'MESSAGE_CREATE'
        destination!.push(
          pushEvent({ sequence: ++sequence, eventName, d: 'm'.repeat(1000) }),
          -1,
          0,
        )
      }
      await until(() => destination!.stats().queuedEvents <= round + 1)
    }
    // 60 events of 1 KB are held, 18 MB went through.
    expect(destination!.stats().queuedEvents).toBe(60)
    expect(destination!.stats().arenaBytes).toBeLessThan(12 * 1024 * 1024)
  })
})

describe('a node of a Redis Cluster', () => {
  test('answers MOVED: its keys wait, the others go on', async () => {
    const args = ['--cluster-enabled', 'yes', '--cluster-require-full-coverage', 'no']
    const one = await startRedis({ args })
    const two = await startRedis({ args })
    const [adminOne, adminTwo] = [adminOf(one), adminOf(two)]
    const lines: LogLine[] = []
    const lanes = recordedLanes()
    try {
      const slotOf = async (name: string): Promise<number> =>
        Number(await adminOne.cluster('KEYSLOT', `gateway:events:${name}`))
      const away = await slotOf('TYPING_START')
      await adminTwo.cluster('ADDSLOTS', away)
      await adminOne.cluster('ADDSLOTS', await slotOf('MESSAGE_CREATE'))
      await adminOne.cluster('MEET', '127.0.0.1', two.port)
      await until(async () => String(await adminOne.cluster('SLOTS')).includes(String(two.port)))
      const destination = await startedRedis(one, { acks: lanes, log: recordedLog(lines) })
      destination.push(pushEvent({ sequence: 1 }), -1, 0)
      destination.push(pushEvent({ sequence: 2, eventName: 'TYPING_START' }), -1, 0)
      destination.push(pushEvent({ sequence: 3 }), -1, 0)
      await until(
        () => destination.stats().retries > 0 && destination.stats().deliveredEvents === 2,
      )
      expect(lanes.direct.through(0)).toBe(1)
      const moved = lines.find((line) => line.fields['code'] === 'MOVED')
      expect(moved?.fields['cure']).toMatch(/Redis Cluster/)
      expect((await destination.drain(50)).events).toBe(1)
    } finally {
      adminOne.disconnect()
      adminTwo.disconnect()
      await Promise.all([one.stop(), two.stop()])
    }
  })
})
