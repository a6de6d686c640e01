import type { Redis } from 'ioredis'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { memoryCounters } from '../../src/base/index.ts'
import { decodeTerm } from '../../src/etf/index.ts'
import type { PushDrop, RedisDestination, RedisStreamOptions } from '../../src/push/index.ts'
import { startRedis, type TestServer } from '../support/servers.ts'
import { until } from '../support/until.ts'
import { expectArithmetic, expectOrder, identity } from './contract.ts'
import { pushEvent, pushEvents } from './events.ts'
import { recordedLanes } from './recorded-lanes.ts'
import { adminOf, killClients, type LogLine, recordedLog } from './redis-subject.ts'
import { entriesOf, receivedFromStreams, startedStream } from './stream-subject.ts'

let server: TestServer
let admin: Redis
let destination: RedisDestination | undefined
let lanes: ReturnType<typeof recordedLanes>
let drops: PushDrop[]
let lines: LogLine[]

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
  lanes = recordedLanes()
  drops = []
  lines = []
})

afterEach(async () => {
  await destination?.drain(0)
  destination = undefined
})

async function open(given: Partial<RedisStreamOptions> = {}): Promise<RedisDestination> {
  destination = await startedStream(server, {
    acks: lanes,
    onDrop: (drop) => drops.push(drop),
    log: recordedLog(lines),
    ...given,
  })
  return destination
}

const settled = (): Promise<void> => until(() => lanes.direct.isIdle && lanes.afterCache.isIdle)
/** Ids as Discord makes them: the time in the upper 42 bits. */
const guildId = (index: number): bigint => (BigInt(index) << 22n) + 5n

describe('Redis stream', () => {
  test('an entry has t, s, shard, session, class and d, in this order', async () => {
    await open()
    const d = { id: 290926798626357999n }
    destination!.push(
      pushEvent({
        shardId: 3,
        sequence: 42,
        sessionId: 'sëssion',
        eventName: 'GUILD_CREATE',
        guildClass: 'joined',
        d,
      }),
      -1,
      0,
    )
    await settled()
    const [entry, ...others] = await entriesOf(admin, 'gateway:stream:all')
    expect(others).toEqual([])
    expect(entry!.names).toEqual(['t', 's', 'shard', 'session', 'class', 'd'])
    const { t, s, shard, session, class: guildClass } = entry!.fields
    expect([t, s, shard, session, guildClass].map(String)).toEqual([
      'GUILD_CREATE',
      '42',
      '3',
      'sëssion',
      'joined',
    ])
    expect(entry!.fields['d']![0]).toBe(131)
    expect(decodeTerm(entry!.fields['d']!)).toEqual(d)
  })

  test('d is JSON or a bare term where it is asked for; a term that cannot be JSON is dropped', async () => {
    await open({ encoding: 'json', keyPrefix: 'json:' })
    const broken = { bytes: Buffer.from([109, 0, 0, 1, 0, 65]), start: 0, end: 6 }
    destination!.push({ ...pushEvent({ sequence: 1 }), ...broken }, -1, 0)
    destination!.push(pushEvent({ sequence: 2, d: { id: 290926798626357999n } }), -1, 0)
    await settled()
    await destination!.drain(0)
    const [json] = await entriesOf(admin, 'json:all')
    expect(String(json!.fields['d'])).toBe('{"id":"290926798626357999"}')
    expect(drops.map((drop) => [drop.sequence, drop.cause])).toEqual([[1, 'encoding']])
    lanes = recordedLanes()
    await open({ encoding: 'etf-bare', keyPrefix: 'bare:' })
    destination!.push(pushEvent({ d: [] }), -1, 0)
    await settled()
    const [bare] = await entriesOf(admin, 'bare:all')
    expect([...bare!.fields['d']!]).toEqual([106])
  })

  test('split by event makes a stream for each name', async () => {
    await open({ split: { by: 'event' } })
    const names = ['MESSAGE_CREATE', 'TYPING_START']
    for (const event of pushEvents(10, { names })) destination!.push(event, -1, 0)
    await settled()
    for (const [index, name] of names.entries()) {
      const entries = await entriesOf(admin, `gateway:stream:${name}`)
      expect(entries.map(({ fields }) => Number(fields['s']))).toEqual(
        [1, 3, 5, 7, 9].map((sequence) => sequence + index),
      )
    }
  })

  test('split by guild puts a guild into one partition, in order over all names', async () => {
    await open({ split: { by: 'guild', partitions: 4 } })
    const names = ['GUILD_CREATE', 'MESSAGE_CREATE', 'GUILD_ROLE_UPDATE']
    for (let sequence = 1; sequence <= 600; sequence++) {
      const id = guildId(sequence % 10)
      const eventName = names[sequence % 3]!
      const d = eventName === 'GUILD_CREATE' ? { id } : { guild_id: id, id: 7n }
      // Some wait for the cache: those behind them of the same shard do as well.
      const lane = sequence % 7 === 0 ? 0 : -1
      const event = pushEvent({ shardId: 1, sequence, eventName, guildClass: 'joined', d })
      destination!.push(event, lane, sequence)
      if (sequence % 50 === 0) destination!.settle(0, sequence)
    }
    destination!.push(pushEvent({ shardId: 3, eventName: 'USER_UPDATE', d: { id: 1n } }), -1, 0)
    destination!.settle(0, 1000)
    await settled()
    for (let partition = 0; partition < 4; partition++) {
      const entries = await entriesOf(admin, `gateway:stream:${partition}`)
      const guilds = entries
        .filter(({ fields }) => String(fields['t']) !== 'USER_UPDATE')
        .map(({ fields }) => Number(fields['s']))
      const expected = Array.from({ length: 600 }, (_, index) => index + 1)
      expect(guilds).toEqual(expected.filter((sequence) => (sequence % 10) % 4 === partition))
      expect(entries.length - guilds.length).toBe(partition === 3 ? 1 : 0)
    }
  })

  test('keeps nearly the newest entries of a bound, and what is younger than an age', async () => {
    await open({ trim: { entriesMax: 1000 }, keyPrefix: 'bound:' })
    for (const event of pushEvents(5000)) destination!.push(event, -1, 0)
    await settled()
    await destination!.drain(0)
    const kept = await admin.xlen('bound:all')
    expect(kept).toBeGreaterThanOrEqual(1000)
    // Redis trims by whole nodes of 100 entries, and each flush once.
    expect(kept).toBeLessThan(1000 + 100 + 512)
    await admin.xadd('aged:all', '1000-1', 'old', '1')
    for (let index = 0; index < 200; index++)
      await admin.xadd('aged:all', `1000-${index + 2}`, 'old', '1')
    lanes = recordedLanes()
    await open({ trim: { ageSecondsMax: 60 }, keyPrefix: 'aged:' })
    for (const event of pushEvents(100)) destination!.push(event, -1, 0)
    await settled()
    expect(await admin.xlen('aged:all')).toBeLessThan(200)
    expect((await entriesOf(admin, 'aged:all')).filter(({ fields }) => fields['s']).length).toBe(
      100,
    )
  })

  test('shows how long a stream is', async () => {
    const counters = memoryCounters()
    await open({ counters })
    for (const event of pushEvents(700)) destination!.push(event, -1, 0)
    await settled()
    const labels = { destination: 'redis', stream: 'all' }
    expect(counters.read('gateway_push_stream_length', labels)).toBe(700)
  })

  test('loses nothing and keeps the order of the shard when its connection is killed five times', async () => {
    await open()
    let sequence = 0
    for (let kill = 0; kill < 5; kill++) {
      for (const event of pushEvents(1500, { from: sequence + 1 })) destination!.push(event, -1, 0)
      sequence += 1500
      await until(async () => (await killClients(admin)) === 1)
    }
    await settled()
    const arrived = await receivedFromStreams(admin)
    expectOrder(arrived, true)
    expect(new Set(arrived.map(identity)).size).toBe(sequence)
    expectArithmetic(destination!)
  })

  test('while Redis answers OOM a flush is refused as a whole, and comes in order afterwards', async () => {
    await open()
    await admin.config('SET', 'maxmemory', '1')
    for (const event of pushEvents(2000)) destination!.push(event, -1, 0)
    await until(() => lines.some((line) => line.fields['code'] === 'OOM'))
    expect(lines.find((line) => line.fields['code'] === 'OOM')!.fields['key']).toBe(
      'gateway:stream:all',
    )
    await admin.config('SET', 'maxmemory', '0')
    await settled()
    const arrived = await receivedFromStreams(admin)
    expect(arrived.map((event) => event.sequence)).toEqual(
      Array.from({ length: 2000 }, (_, index) => index + 1),
    )
    expect(lines.filter((line) => line.level === 'error').length).toBe(1)
  })

  test('a key that is no stream waits with its reason while the others go on', async () => {
    await open({ split: { by: 'event' } })
    await admin.set('gateway:stream:TYPING_START', 'a string')
    const names = ['MESSAGE_CREATE', 'TYPING_START']
    for (const event of pushEvents(100, { names })) destination!.push(event, -1, 0)
    await until(() => destination!.stats().deliveredEvents === 50)
    await until(() => lines.some((line) => line.fields['code'] === 'WRONGTYPE'))
    await admin.del('gateway:stream:TYPING_START')
    await settled()
    expect(await admin.xlen('gateway:stream:TYPING_START')).toBe(50)
  })

  test('drops a payload that the server can never take, counted, and goes on', async () => {
    await admin.config('SET', 'proto-max-bulk-len', '1048576')
    try {
      await open()
      destination!.push(pushEvent({ sequence: 1 }), -1, 0)
      const text = 'z'.repeat(2 * 1024 * 1024)
      destination!.push(pushEvent({ sequence: 2, d: { text } }), -1, 0)
      destination!.push(pushEvent({ sequence: 3 }), -1, 0)
      await settled()
      expect((await receivedFromStreams(admin)).map((event) => event.sequence)).toEqual([1, 3])
      expect(drops.map((drop) => [drop.sequence, drop.cause])).toEqual([[2, 'refused']])
    } finally {
      await admin.config('SET', 'proto-max-bulk-len', '536870912')
    }
  })
})
