import { createServer, type Server, type Socket } from 'node:net'
import type { Redis } from 'ioredis'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { memoryCounters } from '../../src/base/index.ts'
import { decodeTerm } from '../../src/etf/index.ts'
import {
  type AckLane,
  PushError,
  type RedisDestination,
  redisList,
  type RedisListOptions,
} from '../../src/push/index.ts'
import { parseRedisAddress } from '../../src/push/redis/address.ts'
import { startRedis, type TestServer } from '../support/servers.ts'
import { until } from '../support/until.ts'
import { pushEvent, pushEvents } from './events.ts'
import { recordedLanes } from './recorded-lanes.ts'
import { adminOf, type LogLine, recordedLog, redisOptions, startedRedis } from './redis-subject.ts'

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

beforeEach(async () => {
  await admin.flushall()
})

/** Runs a destination, drains it, and gives what stands in each list. */
async function pushed(
  given: Partial<RedisListOptions>,
  use: (destination: RedisDestination) => void,
): Promise<Record<string, Buffer[]>> {
  const destination = await startedRedis(server, given)
  use(destination)
  const left = await destination.drain(5000)
  expect(left.events).toBe(0)
  const lists: Record<string, Buffer[]> = {}
  for (const key of await admin.keys('*')) lists[key] = await admin.lrangeBuffer(key, 0, -1)
  return lists
}

describe('the Redis list contract', () => {
  test('pushes the bare payload to gateway:events:<EVENT>', async () => {
    const d = { id: 290926798626357999n }
    const lists = await pushed({ payload: 'd' }, (destination) =>
      destination.push(pushEvent({ d }), -1, 0),
    )
    expect(Object.keys(lists)).toEqual(['gateway:events:MESSAGE_CREATE'])
    expect(decodeTerm(lists['gateway:events:MESSAGE_CREATE']![0]!)).toEqual(d)
  })

  test('pushes JSON where it is asked for', async () => {
    const lists = await pushed({ payload: 'd', encoding: 'json' }, (destination) =>
      destination.push(pushEvent({ d: { id: 290926798626357999n } }), -1, 0),
    )
    expect(lists['gateway:events:MESSAGE_CREATE']![0]!.toString()).toBe(
      '{"id":"290926798626357999"}',
    )
  })

  test('takes another prefix', async () => {
    const lists = await pushed({ keyPrefix: 'bot:ü:' }, (destination) =>
      destination.push(pushEvent(), -1, 0),
    )
    expect(Object.keys(lists)).toEqual(['bot:ü:MESSAGE_CREATE'])
  })

  const mixed = [
    pushEvent({ sequence: 1, eventName: 'READY' }),
    pushEvent({ sequence: 2, eventName: 'RESUMED' }),
    pushEvent({ sequence: 3, eventName: 'GUILD_MEMBERS_CHUNK' }),
    pushEvent({ sequence: 4, eventName: 'GUILD_CREATE', guildClass: 'available' }),
    pushEvent({ sequence: 5, eventName: 'GUILD_CREATE', guildClass: 'backfill' }),
    pushEvent({ sequence: 6, eventName: 'GUILD_CREATE', guildClass: '' }),
    pushEvent({ sequence: 7, eventName: 'GUILD_CREATE', guildClass: 'joined' }),
    pushEvent({ sequence: 8, eventName: 'GUILD_DELETE', guildClass: 'unavailable' }),
    pushEvent({ sequence: 9, eventName: 'SOMETHING_NEW' }),
  ]
  const sequencesOf = (lists: Record<string, Buffer[]>): Record<string, unknown> =>
    Object.fromEntries(
      Object.entries(lists).map(([key, items]) => [
        key.replace('gateway:events:', ''),
        items.map((item) => (decodeTerm(item) as { s: number }).s),
      ]),
    )

  test('without a list of names pushes all but READY, RESUMED, chunks and guilds that did not join', async () => {
    const lists = await pushed({}, (destination) => {
      for (const event of mixed) destination.push(event, -1, 0)
    })
    expect(sequencesOf(lists)).toEqual({ GUILD_CREATE: [7], GUILD_DELETE: [8], SOMETHING_NEW: [9] })
  })

  test('with a list pushes only what it names, chunks too, and never READY', async () => {
    const events = ['READY', 'GUILD_MEMBERS_CHUNK', 'SOMETHING_NEW', 'GUILD_CREATE']
    const lists = await pushed({ events }, (destination) => {
      for (const event of mixed) destination.push(event, -1, 0)
    })
    expect(sequencesOf(lists)).toEqual({
      GUILD_MEMBERS_CHUNK: [3],
      GUILD_CREATE: [7],
      SOMETHING_NEW: [9],
    })
  })

  test('chunks that a backend requested are pushed whatever the list says', async () => {
    const chunks = ['requested', ''].map((guildClass, index) =>
      pushEvent({ sequence: index + 1, eventName: 'GUILD_MEMBERS_CHUNK', guildClass }),
    )
    for (const events of [undefined, ['MESSAGE_CREATE']]) {
      await admin.flushall()
      const lists = await pushed({ events }, (destination) => {
        for (const event of chunks) destination.push(event, -1, 0)
      })
      expect(sequencesOf(lists)).toEqual({ GUILD_MEMBERS_CHUNK: [1] })
    }
  })

  test('warns of a name that no event has, with the nearest, and accepts it', () => {
    const lines: LogLine[] = []
    redisList(
      redisOptions(server.url, {
        events: ['MESSAGE_CRATE', 'MESSAGE_UPDATE', 'ENTIRELY_DIFFERENT_THING'],
        log: recordedLog(lines),
      }),
    )
    expect(lines.map((line) => [line.level, line.fields])).toEqual([
      ['warn', { destination: 'redis', event: 'MESSAGE_CRATE', didYouMean: 'MESSAGE_CREATE' }],
      ['warn', { destination: 'redis', event: 'ENTIRELY_DIFFERENT_THING' }],
    ])
  })

  test('drops and counts an event whose payload cannot be written as JSON', async () => {
    const counters = memoryCounters()
    const drops: string[] = []
    const lists = await pushed(
      { payload: 'd', encoding: 'json', counters, onDrop: (drop) => drops.push(drop.cause) },
      (destination) => {
        const broken = { bytes: Buffer.from([109, 0, 0, 1, 0, 65]), start: 0, end: 6 }
        destination.push({ ...pushEvent({ sequence: 1 }), ...broken }, -1, 0)
        destination.push(pushEvent({ sequence: 2, d: [] }), -1, 0)
      },
    )
    expect(drops).toEqual(['encoding'])
    expect(lists['gateway:events:MESSAGE_CREATE']!.map(String)).toEqual(['[]'])
    const labels = { destination: 'redis', event: 'MESSAGE_CREATE', cause: 'encoding' }
    expect(counters.read('gateway_push_dropped_events_total', labels)).toBe(1)
    expect(counters.read('gateway_push_delivered_events_total', { destination: 'redis' })).toBe(1)
  })

  test('shows its name to Redis', async () => {
    const destination = await startedRedis(server, { connectionName: 'my fleet-pod 7' })
    expect(await admin.client('LIST')).toContain('name=my_fleet-pod_7')
    await destination.drain(0)
  })

  test('writes one command per key and flush', async () => {
    await admin.config('RESETSTAT')
    await pushed({}, (destination) => {
      for (const event of pushEvents(300, { names: ['MESSAGE_CREATE', 'TYPING_START'] })) {
        destination.push(event, -1, 0)
      }
    })
    expect(await admin.info('commandstats')).toMatch(/cmdstat_rpush:calls=2,/)
  })

  test('gives a rare key its turn beside a busy one', async () => {
    const acks = recordedLanes()
    let busyBefore = -1
    const afterCache: AckLane = {
      submit: (shardId, position) => acks.afterCache.submit(shardId, position),
      done: (shardId, position) => {
        if (shardId === 1) busyBefore = acks.afterCache.through(0)
        acks.afterCache.done(shardId, position)
      },
    }
    const destination = await startedRedis(server, { acks: { ...acks, afterCache } })
    for (const event of pushEvents(5000)) destination.push(event, 0, 1)
    destination.push(pushEvent({ shardId: 1, eventName: 'TYPING_START' }), 0, 1)
    destination.settle(0, 1)
    await until(() => acks.afterCache.isIdle)
    expect(busyBefore).toBeLessThanOrEqual(512)
    await destination.drain(5000)
  })

  test('shows its queue as gauges', async () => {
    const counters = memoryCounters()
    const destination = await startedRedis(server, { counters })
    for (const event of pushEvents(7)) destination.push(event, 0, 1)
    const labels = { destination: 'redis' }
    expect(counters.read('gateway_push_queue_events', labels)).toBe(7)
    expect(counters.read('gateway_push_queue_bytes', labels)).toBeGreaterThan(700)
    expect(counters.read('gateway_push_up', labels)).toBe(1)
    destination.settle(0, 1)
    await until(() => counters.read('gateway_push_queue_events', labels) === 0)
    expect(counters.read('gateway_push_flushes_total', labels)).toBe(1)
    await destination.drain(0)
    expect(counters.read('gateway_push_up', labels)).toBe(0)
  })
})

describe('the start', () => {
  test('waits for a Redis that comes up late', async () => {
    const late = await startRedis()
    await late.shutDown()
    const lines: LogLine[] = []
    const destination = redisList(redisOptions(late.url, { log: recordedLog(lines) }))
    const started = destination.start()
    await until(() => lines.some((line) => line.message.startsWith('redis: no connection')))
    await late.start()
    await started
    expect(lines.map((line) => line.message)).toEqual([
      'redis: no connection, trying again',
      'redis: connected',
    ])
    await destination.drain(0)
    await late.stop()
  })

  test('gives up with address, attempts, last cause and cure, and without the password', async () => {
    const destination = redisList(
      redisOptions('redis://user:hunter2@127.0.0.1:1/3', { connectTimeoutMs: 300 }),
    )
    const error = await destination.start().then(
      () => expect.unreachable(),
      (thrown: unknown) => thrown as PushError,
    )
    expect(error).toBeInstanceOf(PushError)
    expect(error.code).toBe('PUSH_UNREACHABLE')
    expect(error.message).toMatch(
      /Redis at redis:\/\/127\.0\.0\.1:1\/3 did not answer within 1 s \(\d attempts, last: .*ECONNREFUSED/,
    )
    expect(error.message).not.toContain('hunter2')
  })

  test('gives up at once when the login is refused', async () => {
    const locked = await startRedis({ args: ['--requirepass', 'right'] })
    for (const address of [locked.url, locked.url.replace('//', '//:wrong@')]) {
      const destination = redisList(redisOptions(address))
      await expect(destination.start()).rejects.toMatchObject({ code: 'PUSH_REFUSED' })
    }
    const destination = redisList(redisOptions(locked.url.replace('//', '//default:right@')))
    await destination.start()
    await destination.drain(0)
    await locked.stop()
  })

  test('gives up on a server that takes the connection and says nothing', async () => {
    const sockets: Socket[] = []
    const silent: Server = createServer((socket) => sockets.push(socket))
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve))
    const { port } = silent.address() as { port: number }
    const destination = redisList(redisOptions(`127.0.0.1:${port}`, { connectTimeoutMs: 300 }))
    await expect(destination.start()).rejects.toMatchObject({ code: 'PUSH_UNREACHABLE' })
    for (const socket of sockets) socket.destroy()
    silent.close()
  })
})

describe('parseRedisAddress', () => {
  test.each([
    ['localhost:6379', { host: 'localhost', port: 6379, db: 0, isTls: false, password: undefined }],
    ['redis.internal', { host: 'redis.internal', port: 6379 }],
    ['[::1]:7000', { host: '::1', port: 7000 }],
    ['redis://:p%40ss@h:1/5', { host: 'h', port: 1, db: 5, password: 'p@ss', username: undefined }],
    ['rediss://me:s@h', { host: 'h', username: 'me', password: 's', isTls: true }],
    ['user:p/w#?@h:1', null],
    [
      'redis+sentinel://me:p%40ss@a,[::1]:7/main/3',
      {
        sentinels: {
          hosts: [
            { host: 'a', port: 26379 },
            { host: '::1', port: 7 },
          ],
          master: 'main',
        },
        username: 'me',
        password: 'p@ss',
        db: 3,
        isTls: false,
        shown: 'redis+sentinel://a,[::1]:7/main/3',
      },
    ],
    ['rediss+sentinel://a:1/main', { isTls: true, db: 0, username: undefined }],
    ['redis+sentinel://a:1', null],
    ['redis+sentinel://u:p@a:1,b/x/main/9', null],
  ])('reads %s', (text, expected) => {
    if (expected === null) expect(() => parseRedisAddress(text)).toThrow(PushError)
    else expect(parseRedisAddress(text)).toMatchObject(expected)
  })

  test.each(['', 'redis://', 'http://h:1', 'localhost:99999', 'redis://u:secret@h/x', '%%%'])(
    'refuses %s without repeating it',
    (text) => {
      expect(() => parseRedisAddress(text)).toThrow(/PUSH_BAD_ADDRESS/)
      expect(() => parseRedisAddress(text)).not.toThrow(/secret/)
    },
  )

  test('shows the address without user and password', () => {
    expect(parseRedisAddress('rediss://me:secret@h:1/5').shown).toBe('rediss://h:1/5')
  })
})
