/** Commands from a Redis stream, on a real Redis. */
import { Redis } from 'ioredis'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { memoryCounters, seededRandom, silentLog, systemClock } from '../../src/base/index.ts'
import { CommandSource } from '../../src/push/index.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { sharedRedis } from '../support/redis.ts'
import { until } from '../support/until.ts'

const redis = sharedRedis()
const key = `${redis.prefix}commands-stream`
const replies = `${redis.prefix}stream-replies`
const sources: CommandSource[] = []
let client: Redis

beforeAll(() => {
  client = new Redis(redis.url)
})

afterEach(async () => {
  for (const source of sources.splice(0)) await source.stop()
  await client.del(key, replies)
})

afterAll(() => client.disconnect())

function start(
  handle: ConstructorParameters<typeof CommandSource>[0]['handle'],
  options: { staleMs?: number; clock?: FakeClock } = {},
): CommandSource {
  const source = new CommandSource({
    form: 'stream',
    address: redis.url,
    key,
    connectionName: 'stream-test',
    handle,
    clock: systemClock,
    random: seededRandom(1),
    log: silentLog,
    counters: memoryCounters(),
    ...options,
  })
  sources.push(source)
  source.start()
  return source
}

async function add(...texts: readonly string[]): Promise<void> {
  for (const text of texts) await client.xadd(key, '*', 'json', text)
}

async function pending(): Promise<number> {
  return Number(((await client.xpending(key, 'gateway')) as unknown[])[0])
}

async function workers(): Promise<number> {
  return ((await client.xinfo('CONSUMERS', key, 'gateway')) as unknown[]).length
}

async function killConnections(): Promise<void> {
  for (const line of String(await client.client('LIST')).split('\n')) {
    if (!line.includes('name=stream-test-commands ')) continue
    await client.client('KILL', 'ID', /id=(\d+)/.exec(line)![1]!)
  }
}

test('are taken in order, each is pending until it is through, and what a gone worker had comes again', async () => {
  // Before any worker: the group begins with the oldest.
  await add('a', 'b', 'c')
  const first: string[] = []
  const end = Promise.withResolvers<void>()
  const clock = new FakeClock()
  start((text) => (first.push(text), end.promise), { clock })
  await until(async () => {
    await clock.advance(100)
    return first.length === 3
  })
  expect(first).toEqual(['a', 'b', 'c'])
  expect(await pending()).toBe(3)
  // Its time stands still from now on: it neither takes nor renews.
  await killConnections()
  const second: string[] = []
  start((text) => (second.push(text), Promise.resolve()), { staleMs: 200 })
  await until(() => second.length === 3)
  expect(second).toEqual(['a', 'b', 'c'])
  await until(async () => (await client.xlen(key)) === 0)
  expect(await pending()).toBe(0)
  // The gone one is forgotten once nothing is pending for it.
  await until(async () => (await workers()) === 1)
  end.resolve()
})

test('one that takes long stays with its worker, and is answered into the list that it names', async () => {
  const end = Promise.withResolvers<void>()
  const seen: string[] = []
  start(
    (text, reply) => (seen.push(text), end.promise.then(() => reply(replies, `${text} done`))),
    {
      staleMs: 200,
    },
  )
  await add('slow')
  await until(() => seen.length === 1)
  start((text) => (seen.push(`again ${text}`), Promise.resolve()), { staleMs: 200 })
  // Three times as long as after which a worker is gone.
  await new Promise((resolve) => setTimeout(resolve, 600))
  expect(seen).toEqual(['slow'])
  end.resolve()
  expect(await client.blpop(replies, 10)).toEqual([replies, 'slow done'])
  await until(async () => (await client.xlen(key)) === 0)
})

test('at a stop another worker gets at once what is not through, and a broken connection leaves nothing', async () => {
  const seen: string[] = []
  const source = start((text) => (seen.push(text), new Promise(() => undefined)))
  await until(async () => (await client.exists(key)) === 1)
  await killConnections()
  await add('a', 'b')
  await until(() => seen.length === 2, { timeoutMs: 10_000 })
  await source.stop()
  expect(await pending()).toBe(2)
  const next: string[] = []
  start((text) => (next.push(text), Promise.resolve()))
  await until(() => next.length === 2)
  expect(next).toEqual(['a', 'b'])
  await until(async () => (await client.xlen(key)) === 0)
})

test('an entry without the field is taken as no command; a stream that was deleted is made again', async () => {
  const seen: string[] = []
  const source = start((text) => (seen.push(text), Promise.resolve()))
  await client.xadd(key, '*', 'text', 'json')
  await until(() => seen.length === 1)
  expect(seen).toEqual([''])
  await client.del(key)
  await add('b')
  await until(() => seen.length === 2, { timeoutMs: 10_000 })
  expect(seen[1]).toBe('b')
  await until(async () => (await client.xlen(key)) === 0)
  await source.stop()
  expect(await workers()).toBe(0)
})
