import type { Redis } from 'ioredis'
import { afterEach, beforeAll, describe, expect, test } from 'vitest'
import { silentLog } from '../../src/base/index.ts'
import {
  consume,
  type ConsumedEvent,
  type Consumer,
  type ConsumerOptions,
  redisStream,
  type RedisStreamOptions,
} from '../../src/consumer/index.ts'
import { Program } from '../support/program.ts'
import { sharedRedis } from '../support/redis.ts'
import { until } from '../support/until.ts'
import { adminOf, fieldsOf, range, sequencesOf, type Written } from './world.ts'

const CHILD = 'tests/consumer/fixtures/consuming-child.ts'
const consumers: Consumer[] = []
const programs: Program[] = []
let admin: Redis

beforeAll(() => {
  admin = adminOf(sharedRedis().url)
  return () => admin.disconnect()
})

afterEach(async () => {
  await Promise.all(consumers.splice(0).map((consumer) => consumer.stop(0)))
  for (const program of programs.splice(0)) program.kill('SIGKILL')
})

function freshKey(): string {
  return `${sharedRedis().prefix}stream`
}

async function started(
  key: string,
  options: Omit<ConsumerOptions, 'from'>,
  stream: Partial<RedisStreamOptions> = {},
): Promise<Consumer> {
  const from = redisStream({ redis: sharedRedis().url, keys: [key], group: 'bot', ...stream })
  const consumer = await consume({ from, log: silentLog, ...options })
  consumers.push(consumer)
  return consumer
}

async function write(key: string, ...events: Written[]): Promise<void> {
  const pipeline = admin.pipeline()
  for (const event of events) pipeline.xadd(key, '*', ...fieldsOf(event))
  await pipeline.exec()
}

/** Entries that were delivered and not acknowledged. */
async function pending(key: string): Promise<number> {
  const [count] = (await admin.xpending(key, 'bot')) as [number]
  return count
}

async function members(key: string): Promise<number> {
  return ((await admin.xinfo('CONSUMERS', key, 'bot')) as unknown[]).length
}

describe('a consumer of a Redis stream', () => {
  test('reads the six fields, in order, from the beginning, and leaves nothing pending', async () => {
    const key = freshKey()
    const events: ConsumedEvent[] = []
    await write(key, ...range(1, 250).map((s) => ({ s })))
    const consumer = await started(key, { onEvent: (event) => void events.push(event) })
    await until(() => events.length === 250)
    await write(key, { s: 251, t: 'MESSAGE_UPDATE' })
    await until(() => events.length === 251)
    expect(sequencesOf(events)).toEqual(range(1, 251))
    expect(events.at(-1)).toMatchObject({
      t: 'MESSAGE_UPDATE',
      d: { id: '1000000000000000251' },
      shardId: 3,
      shardCount: null,
      sessionId: 'session-a',
      guildClass: '',
    })
    await consumer.stop()
    expect(await pending(key)).toBe(0)
    expect(await members(key)).toBe(0)
  })

  test('a new group may begin with what comes from now on', async () => {
    const key = freshKey()
    const events: ConsumedEvent[] = []
    await write(key, { s: 1 })
    await started(key, { onEvent: (event) => void events.push(event) }, { begin: 'new' })
    await write(key, { s: 2 })
    await until(() => events.length > 0)
    expect(sequencesOf(events)).toEqual([2])
  })

  test('two members share the events, each goes to one of them', async () => {
    const key = freshKey()
    const seen = [new Set<number>(), new Set<number>()] as const
    const ids = range(1, 400)
    for (const mine of seen) {
      await started(key, { concurrency: 4, onEvent: ({ sequence }) => void mine.add(sequence!) })
    }
    for (const s of ids) await write(key, { s })
    await until(() => seen[0].size + seen[1].size === ids.length)
    expect([...seen[0]].filter((s) => seen[1].has(s))).toEqual([])
    expect(Math.min(seen[0].size, seen[1].size)).toBeGreaterThan(0)
  })

  test('several streams are read together', async () => {
    const keys = range(0, 3).map((n) => `${freshKey()}:${n}`)
    const events: ConsumedEvent[] = []
    await started(keys[0]!, { onEvent: (event) => void events.push(event) }, { keys })
    for (const [index, key] of keys.entries()) await write(key, { s: index })
    await until(() => events.length === keys.length)
    expect(sequencesOf(events).toSorted((a, b) => a - b)).toEqual(range(0, 3))
  })

  test('what a stop leaves unhandled is taken over by another member at once', async () => {
    const key = freshKey()
    const stuck = await started(key, { onEvent: () => new Promise(() => undefined) })
    await write(key, { s: 1 })
    await until(() => stuck.stats().taken === 1)
    await stuck.stop(0)
    expect(await pending(key)).toBe(1)
    const events: ConsumedEvent[] = []
    await started(key, { onEvent: (event) => void events.push(event) })
    await until(() => events.length === 1)
    await until(async () => (await pending(key)) === 0)
  })

  test('a handler that takes long keeps its event', async () => {
    const key = freshKey()
    const gate = Promise.withResolvers<void>()
    const slow = await started(key, { onEvent: () => gate.promise }, { claimIdleMs: 150 })
    await write(key, { s: 1 })
    await until(() => slow.stats().taken === 1)
    const other = await started(key, { onEvent: () => undefined }, { claimIdleMs: 150 })
    // Several times as long as it takes to be taken over.
    const startedAt = performance.now()
    await until(() => performance.now() - startedAt > 600)
    gate.resolve()
    await until(() => slow.stats().handled === 1)
    expect(other.stats().taken).toBe(0)
  })

  test('a process that is killed in the middle loses nothing', async () => {
    const { url, prefix } = sharedRedis()
    const key = `${prefix}stream`
    const count = 3000
    const guildOf = (s: number): bigint => 81384788765712384n + BigInt(s)
    await write(key, ...range(1, count).map((s) => ({ s, guildId: guildOf(s) })))
    const handled = (): Promise<number> => admin.llen(`${prefix}handled`)
    for (let kill = 0; kill < 2; kill++) {
      const before = await handled()
      const child = new Program(CHILD, ['stream', url, prefix, '300'])
      programs.push(child)
      await until(async () => (await handled()) > before + 150, { timeoutMs: 20_000 })
      child.kill('SIGKILL')
      await child.exited
    }
    const contents = new Set<string>()
    const onEvent = (event: ConsumedEvent): void => {
      if (event.t === 'MESSAGE_CREATE') contents.add(event.d.content)
    }
    await started(key, { onEvent }, { claimIdleMs: 300 })
    const all = async (): Promise<Set<string>> =>
      new Set([...contents, ...(await admin.lrange(`${prefix}handled`, 0, -1))])
    await until(async () => (await all()).size === count && (await pending(key)) === 0, {
      timeoutMs: 20_000,
    })
  })

  test('connections that break lose nothing; the group is made again after a FLUSHALL', async () => {
    const key = freshKey()
    const seen = new Set<number>()
    const consumer = await started(key, { onEvent: ({ sequence }) => void seen.add(sequence!) })
    await write(key, ...range(1, 1000).map((s) => ({ s })))
    const list = (await admin.client('LIST')) as string
    const ids = list
      .split('\n')
      .filter((line) => line.includes('name=gateway-consumer'))
      .map((line) => /^id=(\d+)/.exec(line)![1]!)
    for (const id of ids) await admin.client('KILL', 'ID', id)
    await until(() => seen.size === 1000)
    await until(async () => (await pending(key)) === 0)
    await admin.del(key)
    await write(key, { s: 1001 })
    await until(() => seen.has(1001))
    expect(consumer.stats().failed).toBe(0)
  })

  test('an entry without a payload is given up, not in the way', async () => {
    const key = freshKey()
    const failed: unknown[] = []
    const onFailed = (error: unknown): void => void failed.push((error as { code: string }).code)
    await started(key, { onEvent: () => undefined, onFailed })
    await admin.xadd(key, '*', 't', 'MESSAGE_CREATE')
    await until(() => failed.length === 1)
    expect(failed).toEqual(['CONSUMER_BAD_PAYLOAD'])
    await until(async () => (await pending(key)) === 0)
  })

  test('a key that is no stream ends the start with its name', async () => {
    const key = freshKey()
    await admin.set(key, 'text')
    await expect(started(key, { onEvent: () => undefined })).rejects.toMatchObject({
      code: 'CONSUMER_REFUSED',
      details: { key },
    })
  })
})

test.each([
  [{ keys: [] }, 'keys'],
  [{ group: '' }, 'group'],
])('the options %o are refused', (options, option) => {
  expect(() => redisStream({ redis: 'localhost:1', group: 'bot', ...options })).toThrow(option)
})
