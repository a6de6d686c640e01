import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Redis } from 'ioredis'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { memoryCounters, silentLog, systemClock } from '../../src/base/index.ts'
import {
  type PushEvent,
  type RedisDestination,
  type RedisListOptions,
  Spill,
  SpillLedger,
  SpillThread,
} from '../../src/push/index.ts'
import { type RedisOptions, startRedis, type TestServer } from '../support/servers.ts'
import { until } from '../support/until.ts'
import { expectArithmetic } from './contract.ts'
import { pushEvent } from './events.ts'
import { recordedLanes } from './recorded-lanes.ts'
import { adminOf, bareLists, type LogLine, recordedLog, startedRedis } from './redis-subject.ts'

const MARKS = 'gateway:v1:marks:fleet:gateway:events:'
const NAMES = ['MESSAGE_CREATE', 'TYPING_START', 'GUILD_MEMBER_UPDATE']

describe('Redis list with marks', () => {
  let server: TestServer
  let admin: Redis
  let running: RedisDestination[]

  /** A process's destination: with payload `d`, as one that does not know what earlier ones did. */
  async function run(given: Partial<RedisListOptions> = {}): Promise<RedisDestination> {
    const destination = await startedRedis(server, { payload: 'd', marks: 'fleet', ...given })
    running.push(destination)
    return destination
  }

  async function open(options: RedisOptions = {}): Promise<void> {
    server = await startRedis(options)
    admin = adminOf(server)
  }

  beforeEach(() => {
    running = []
  })

  afterEach(async () => {
    await Promise.all(running.map((destination) => destination.drain(0)))
    admin.disconnect()
    await server.stop()
  })

  const isDelivered = (destination: RedisDestination, count: number): Promise<void> =>
    until(() => destination.stats().deliveredEvents === count, { what: `${count} delivered` })

  const all = (count: number): number[] => Array.from({ length: count }, (_, index) => index + 1)

  test('an event is not pushed again whose answer was lost with the connection', async () => {
    await open()
    const proxy = await cuttingProxy(server.port)
    const lanes = recordedLanes()
    const destination = await run({ address: `127.0.0.1:${proxy.port}`, acks: lanes })
    for (const s of all(3000)) {
      destination.push(event(s, { eventName: NAMES[s % 3]! }), -1, 0)
      if (s % 300 === 0) {
        // Redis carries the flush out, and its answer goes nowhere.
        proxy.cutNextAnswer()
        await isDelivered(destination, s)
      }
    }
    expect(proxy.cuts()).toBe(10)
    const lists = await bareLists(admin)
    expect(lists.flat().sort((a, b) => a - b)).toEqual(all(3000))
    for (const list of lists) expect(list).toEqual(list.toSorted((a, b) => a - b))
    expect(lanes.direct.isIdle).toBe(true)
    expectArithmetic(destination)
    proxy.close()
  })

  test('a flush that a silent Redis carries out after its connection was left is not repeated', async () => {
    await open()
    const destination = await run({ commandTimeoutMs: 100 })
    destination.push(event(1), -1, 0)
    await isDelivered(destination, 1)
    for (let turn = 0; turn < 3; turn++) {
      server.freeze()
      for (const s of all(50)) destination.push(event(turn * 50 + s + 1), -1, 0)
      const { retries } = destination.stats()
      await until(() => destination.stats().retries > retries)
      server.thaw()
      await isDelivered(destination, turn * 50 + 51)
    }
    expect((await bareLists(admin)).flat()).toEqual(all(151))
  })

  test('a successor pushes what lies above the marks, each lane for itself', async () => {
    await open()
    const first = await run()
    for (const s of [1, 3, 5]) first.push(event(s), -1, 0)
    for (const s of [2, 4]) first.push(event(s, { eventName: 'GUILD_MEMBER_UPDATE' }), 0, s)
    first.settle(0, 2)
    await isDelivered(first, 4)
    expect(await admin.hgetall(MARKS)).toEqual({ '0:0': 'session-a:5', '0:1': 'session-a:2' })
    // It is gone while 4 waits for the cache; Discord sends everything again.
    const lanes = recordedLanes()
    const counters = memoryCounters()
    const second = await run({ acks: lanes, counters })
    for (const s of all(6)) {
      const isAfterCache = s % 2 === 0 && s < 6
      const eventName = isAfterCache ? 'GUILD_MEMBER_UPDATE' : 'MESSAGE_CREATE'
      second.push(event(s, { eventName }), isAfterCache ? 0 : -1, s)
    }
    second.settle(0, 6)
    await isDelivered(second, 6)
    expect(await bareLists(admin)).toEqual([
      [2, 4],
      [1, 3, 5, 6],
    ])
    expect(lanes.direct.isIdle && lanes.afterCache.isIdle).toBe(true)
    expect(counters.read('gateway_push_repeats_skipped_total', { destination: 'redis' })).toBe(4)
    expectArithmetic(second)
  })

  test('a shard that comes back to a process knows what another one pushed meanwhile', async () => {
    await open()
    const [first, second] = [await run(), await run()]
    for (const s of all(5)) first.push(event(s), -1, 0)
    await isDelivered(first, 5)
    for (const s of all(8)) second.push(event(s), -1, 0)
    await isDelivered(second, 8)
    // The positions of a process count on over its sessions of the shard.
    for (const s of [7, 8, 9]) first.push(event(s, { position: 5 + s }), -1, 0)
    await isDelivered(first, 8)
    expect((await bareLists(admin)).flat()).toEqual(all(9))
  })

  test('the mark of another session of the shard says nothing', async () => {
    await open()
    const first = await run()
    for (const s of [1, 2, 3]) first.push(event(s), -1, 0)
    await isDelivered(first, 3)
    for (const s of [1, 2]) first.push(event(s, { sessionId: 'b', position: s + 3 }), -1, 0)
    await isDelivered(first, 5)
    expect((await bareLists(admin)).flat()).toEqual([1, 2, 3, 1, 2])
    expect(await admin.hgetall(MARKS)).toEqual({ '0:0': 'b:2' })
  })

  test('a mark stays below what a refused key keeps waiting', async () => {
    await open()
    await admin.set('gateway:events:TYPING_START', 'not a list')
    const first = await run()
    for (const s of all(9)) first.push(event(s, { eventName: NAMES[s % 3]! }), -1, 0)
    await isDelivered(first, 6)
    await until(async () => (await admin.hget(MARKS, '0:0')) === 'session-a:0')
    // It is gone; its successor finds the key mended.
    await first.drain(0)
    await admin.del('gateway:events:TYPING_START')
    const second = await run()
    for (const s of all(9)) second.push(event(s, { eventName: NAMES[s % 3]! }), -1, 0)
    await isDelivered(second, 9)
    const [, , typing] = await bareLists(admin)
    expect(typing).toEqual([1, 4, 7])
    expect(await admin.hget(MARKS, '0:0')).toBe('session-a:9')
  })

  test('a mark goes on when a refused key takes events again', async () => {
    await open()
    await admin.set('gateway:events:TYPING_START', 'not a list')
    const destination = await run()
    for (const s of all(9)) destination.push(event(s, { eventName: NAMES[s % 3]! }), -1, 0)
    await isDelivered(destination, 6)
    await until(async () => (await admin.hget(MARKS, '0:0')) === 'session-a:0')
    await admin.del('gateway:events:TYPING_START')
    await isDelivered(destination, 9)
    await until(async () => (await admin.hget(MARKS, '0:0')) === 'session-a:9')
    expect((await bareLists(admin)).flat().sort((a, b) => a - b)).toEqual(all(9))
  })

  test('writes neither lists nor marks when Redis is full, and both when it is not', async () => {
    await open({ args: ['--maxmemory-policy', 'noeviction'] })
    const destination = await run()
    destination.push(event(1), -1, 0)
    await isDelivered(destination, 1)
    await admin.config('SET', 'maxmemory', '1')
    const more = all(10).slice(1)
    for (const s of more) destination.push(event(s, { eventName: NAMES[s % 3]! }), -1, 0)
    await until(() => destination.stats().retries > 3)
    expect((await bareLists(admin)).flat()).toEqual([1])
    expect(await admin.hgetall(MARKS)).toEqual({ '0:0': 'session-a:1' })
    await admin.config('SET', 'maxmemory', '0')
    await isDelivered(destination, 10)
    expect((await bareLists(admin)).flat().sort((a, b) => a - b)).toEqual(all(10))
    await until(async () => (await admin.hget(MARKS, '0:0')) === 'session-a:10')
  })

  test('what an earlier process left in its spill is delivered late and leaves the marks alone', async () => {
    await open()
    const folder = mkdtempSync(join(tmpdir(), 'gateway-marks-'))
    const thread = new SpillThread()
    const spilling = async (): Promise<Partial<RedisListOptions>> => ({
      isRequired: false,
      whenFull: 'spill',
      spill: await Spill.open({
        destination: 'redis',
        thread,
        ledger: new SpillLedger(),
        folder,
        form: 'test',
        bytesMax: 1024 ** 3,
        afterMs: 60_000,
        clock: systemClock,
        log: silentLog,
        counters: memoryCounters(),
      }),
    })
    const away = await run({ ...(await spilling()), address: '127.0.0.1:1' })
    for (const s of [1, 2, 3]) away.push(event(s), -1, 0)
    expect((await away.drain(0)).spilledEvents).toBe(3)
    const elsewhere = await run()
    for (const s of [4, 5, 6]) elsewhere.push(event(s), -1, 0)
    await isDelivered(elsewhere, 3)
    const late = await run(await spilling())
    await isDelivered(late, 3)
    expect((await bareLists(admin)).flat()).toEqual([4, 5, 6, 1, 2, 3])
    expect(await admin.hgetall(MARKS)).toEqual({ '0:0': 'session-a:6' })
    await late.drain(0)
    await thread.close()
    rmSync(folder, { recursive: true })
  })

  test('a node of a Redis Cluster is refused by name', async () => {
    await open({ args: ['--cluster-enabled', 'yes'] })
    await expect(run()).rejects.toMatchObject({ code: 'PUSH_MARKS_CLUSTER' })
    // One that nobody waits for says so, and writes nothing.
    const lines: LogLine[] = []
    const optional = await run({ isRequired: false, log: recordedLog(lines) })
    optional.push(event(1), -1, 0)
    await until(() => lines.some(({ fields }) => fields['code'] === 'PUSH_MARKS_CLUSTER'))
    expect(optional.stats()).toMatchObject({ queuedEvents: 1, flushes: 0 })
  })

  test('a destination that is only started writes nothing', async () => {
    await open()
    await run()
    expect(await admin.keys('*')).toEqual([])
  })

  test('without marks nothing but lists is written, and marks of a later version are left alone', async () => {
    await open()
    const plain = await run({ marks: undefined })
    for (const s of all(3)) plain.push(event(s), -1, 0)
    await isDelivered(plain, 3)
    expect(await admin.keys('*')).toEqual(['gateway:events:MESSAGE_CREATE'])
    await admin.hset(MARKS, '0:0', 'session-a:not a number', '0:1', '?')
    const marked = await run()
    for (const s of all(3)) marked.push(event(s), -1, 0)
    await isDelivered(marked, 3)
    expect((await bareLists(admin)).flat()).toEqual([1, 2, 3, 1, 2, 3])
    expect(await admin.hgetall(MARKS)).toEqual({ '0:0': 'session-a:3', '0:1': '?' })
  })
})

function event(sequence: number, given: Partial<PushEvent> = {}): PushEvent {
  return pushEvent({ sequence, d: { s: sequence }, ...given })
}

interface CuttingProxy {
  readonly port: number
  /** The next answer to an EXEC with lists in it ends the connection instead of arriving. */
  cutNextAnswer(): void
  cuts(): number
  close(): void
}

async function cuttingProxy(port: number): Promise<CuttingProxy> {
  let isCutting = false
  let cuts = 0
  const sockets = new Set<Socket>()
  const proxy = createServer((client) => {
    const redis = connect(port, '127.0.0.1')
    let isFlush = false
    for (const socket of [client, redis]) {
      sockets.add(socket)
      socket.on('error', () => undefined)
      socket.on('close', () => {
        sockets.delete(socket)
        client.destroy()
        redis.destroy()
      })
    }
    client.on('data', (bytes) => {
      isFlush ||= isCutting && bytes.includes('RPUSH')
      redis.write(bytes)
    })
    redis.on('data', (bytes) => {
      if (!isFlush || !isCutting) {
        client.write(bytes)
        return
      }
      // The replies to MULTI and RPUSH may come before that to EXEC, an array.
      if (!bytes.includes('\r\n*')) return
      isCutting = false
      cuts++
      client.destroy()
    })
  })
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve))
  return {
    port: (proxy.address() as { port: number }).port,
    cutNextAnswer: () => {
      isCutting = true
    },
    cuts: () => cuts,
    close: () => {
      for (const socket of sockets) socket.destroy()
      proxy.close()
    },
  }
}
