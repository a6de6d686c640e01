import type { Redis } from 'ioredis'
import { afterEach, beforeAll, describe, expect, test } from 'vitest'
import { type Log, silentLog } from '../../src/base/index.ts'
import {
  consume,
  type ConsumedEvent,
  type Consumer,
  type ConsumerOptions,
  redisList,
  type RedisListOptions,
  redisStream,
} from '../../src/consumer/index.ts'
import { Program } from '../support/program.ts'
import { sharedRedis } from '../support/redis.ts'
import { startRedis, type TestServer } from '../support/servers.ts'
import { until } from '../support/until.ts'
import { readProjectFile } from '../tidy/tree.ts'
import { adminOf, envelopeOf, fieldsOf, messageOf, range, sequencesOf, termOf } from './world.ts'

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

interface Subject {
  readonly url: string
  readonly prefix: string
  readonly key: string
}

function subject({ url, prefix } = sharedRedis()): Subject {
  return { url, prefix, key: `${prefix}events:MESSAGE_CREATE` }
}

async function started(
  { url, prefix }: Subject,
  options: Omit<ConsumerOptions, 'from'>,
  list: Partial<RedisListOptions> = {},
): Promise<Consumer> {
  const from = redisList({
    redis: url,
    prefix: `${prefix}events:`,
    processingPrefix: `${prefix}consumer:`,
    events: ['MESSAGE_CREATE'],
    ...list,
  })
  const consumer = await consume({ from, log: silentLog, ...options })
  consumers.push(consumer)
  return consumer
}

/** Every key that consumers left behind. */
async function leftBy({ prefix }: Subject, redis = admin): Promise<string[]> {
  return redis.keys(`${prefix}consumer:*`)
}

describe('a consumer of Redis lists', () => {
  test('takes what is there and what comes, in order, and leaves nothing behind', async () => {
    const at = subject()
    const events: ConsumedEvent[] = []
    await admin.rpush(at.key, ...range(1, 200).map((s) => envelopeOf({ s })))
    const consumer = await started(at, { onEvent: (event) => void events.push(event) })
    await until(() => events.length === 200)
    await admin.rpush(at.key, envelopeOf({ s: 201 }))
    await until(() => events.length === 201)
    expect(sequencesOf(events)).toEqual(range(1, 201))
    await consumer.stop()
    expect(await leftBy(at)).toEqual([])
    expect(await admin.llen(at.key)).toBe(0)
  })

  test('takes from several lists at once; the key names a bare payload', async () => {
    const at = subject()
    const names = ['MESSAGE_CREATE', 'MESSAGE_DELETE']
    const events: ConsumedEvent[] = []
    await started(at, { onEvent: (event) => void events.push(event) }, { events: names })
    for (const name of names) {
      await admin.rpush(`${at.prefix}events:${name}`, termOf(messageOf({ s: 1 })))
    }
    await until(() => events.length === 2)
    expect(events.map(({ t }) => t).sort()).toEqual(names)
  })

  test('an event that is being handled stands in its processing list', async () => {
    const at = subject()
    let letGo: () => void = () => undefined
    const consumer = await started(at, {
      onEvent: () => new Promise((resolve) => (letGo = resolve)),
    })
    await admin.rpush(at.key, envelopeOf({ s: 1 }))
    await until(() => consumer.stats().taken === 1)
    const [held] = await admin.keys(`${at.prefix}consumer:v1:*:MESSAGE_CREATE`)
    expect(await admin.lrangeBuffer(held!, 0, -1)).toEqual([envelopeOf({ s: 1 })])
    letGo()
    await until(async () => (await admin.exists(held!)) === 0)
  })

  test('a stop gives back what was not handled to the head of its list, in order', async () => {
    const at = subject()
    const consumer = await started(at, {
      concurrency: 1,
      inFlightMax: 3,
      onEvent: () => new Promise(() => undefined),
    })
    await admin.rpush(at.key, ...range(1, 5).map((s) => envelopeOf({ s })))
    await until(() => consumer.stats().taken === 3)
    await consumer.stop(0)
    expect(await admin.lrangeBuffer(at.key, 0, -1)).toEqual(
      range(1, 5).map((s) => envelopeOf({ s })),
    )
    expect(await leftBy(at)).toEqual([])
  })

  test('a process that is killed in the middle loses nothing', async () => {
    const at = subject()
    const count = 2000
    const payloads = range(1, count).map((s) => termOf(messageOf({ s, guildId: BigInt(s) })))
    await admin.rpush(at.key, ...payloads)
    const handled = (): Promise<number> => admin.llen(`${at.prefix}handled`)
    for (let kill = 0; kill < 2; kill++) {
      const before = await handled()
      const child = new Program(CHILD, ['list', at.url, at.prefix, '600'])
      programs.push(child)
      await until(async () => (await handled()) > before + 150, { timeoutMs: 20_000 })
      child.kill('SIGKILL')
      await child.exited
    }
    const contents = new Set<string>()
    const warnings: string[] = []
    const log: Log = { ...silentLog, warn: (message) => void warnings.push(message) }
    const onEvent = (event: ConsumedEvent): void => {
      if (event.t === 'MESSAGE_CREATE') contents.add(event.d.content)
    }
    await started(at, { onEvent, log }, { leaseMs: 600 })
    const all = async (): Promise<Set<string>> =>
      new Set([...contents, ...(await admin.lrange(`${at.prefix}handled`, 0, -1))])
    await until(async () => (await all()).size === count, { timeoutMs: 20_000 })
    // What was handled and not removed yet may be given back after all was handled.
    await until(async () => (await admin.hlen(`${at.prefix}consumer:v1:instances`)) === 1)
    expect(warnings).toContain(
      'consumer: gave back the events of a process that has ended without doing so',
    )
  })

  test('SIGTERM ends a bot in order: handled and confirmed are the same', async () => {
    const at = subject()
    await admin.rpush(at.key, ...range(1, 500).map((s) => termOf(messageOf({ s }))))
    const child = new Program(CHILD, ['list', at.url, at.prefix, '600'])
    programs.push(child)
    await child.waitFor(() => (child.lines.length > 20 ? true : null), 'handled events')
    expect(await child.stop()).toEqual({ code: 0, signal: null })
    expect(child.output).toMatch(/^stopped \d+$/m)
    const handled = await admin.lrange(`${at.prefix}handled`, 0, -1)
    expect(handled.length + (await admin.llen(at.key))).toBe(500)
    expect(await leftBy(at)).toEqual([])
  })
})

describe('when Redis fails', () => {
  let server: TestServer
  let redis: Redis

  beforeAll(async () => {
    server = await startRedis({ appendonly: true })
    redis = adminOf(server.url)
    return async () => {
      redis.disconnect()
      await server.stop()
    }
  })

  function here(name: string): Subject {
    return subject({ url: server.url, prefix: `${name}:` })
  }

  test('connections that break while answers are on their way lose nothing and repeat no confirmed event', async () => {
    const at = here('break')
    // Equal payloads, which nothing tells apart but their number.
    const payload = termOf(messageOf({ s: 1 }))
    const count = 3000
    await redis.rpush(at.key, ...Array<Buffer>(count).fill(payload))
    let handled = 0
    const consumer = await started(at, { onEvent: () => void handled++, concurrency: 8 })
    for (let round = 0; round < 8; round++) {
      await redis.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')
      const before = handled
      await until(() => handled > before || handled >= count)
    }
    await until(() => handled >= count)
    await consumer.stop()
    expect(handled).toBe(count)
    expect(await redis.llen(at.key)).toBe(0)
    expect(await leftBy(at, redis)).toEqual([])
  })

  test('a Redis that restarts finds its consumer again, with what it held', async () => {
    const at = here('restart')
    const events: ConsumedEvent[] = []
    const gate = Promise.withResolvers<void>()
    const consumer = await started(at, {
      onEvent: async (event) => {
        await gate.promise
        events.push(event)
      },
    })
    await redis.rpush(at.key, envelopeOf({ s: 1 }))
    await until(() => consumer.stats().taken === 1)
    await server.kill()
    gate.resolve()
    await server.start()
    await until(() => redis.status === 'ready')
    await redis.rpush(at.key, envelopeOf({ s: 2 }))
    await until(() => events.length === 2)
    await consumer.stop()
    expect(sequencesOf(events)).toEqual([1, 2])
    expect(consumer.stats()).toMatchObject({ repeats: 0 })
    expect(await leftBy(at, redis)).toEqual([])
  })

  test('a process that was taken for dead goes on; its events come twice, none is lost', async () => {
    const at = here('frozen')
    const seen: string[] = []
    const gate = Promise.withResolvers<void>()
    const slow = await started(at, {
      inFlightMax: 1,
      onEvent: async ({ sequence }) => {
        await gate.promise
        seen.push(`slow ${sequence}`)
      },
    })
    await redis.rpush(at.key, envelopeOf({ s: 1 }))
    await until(() => slow.stats().taken === 1)
    const [lease] = await redis.keys(`${at.prefix}consumer:v1:*:lease`)
    await redis.del(lease!)
    const other = await started(at, {
      onEvent: ({ sequence }) => void seen.push(`other ${sequence}`),
    })
    await until(() => seen.length === 1)
    expect(seen).toEqual(['other 1'])
    gate.resolve()
    await until(() => seen.length === 2)
    await slow.stop()
    await other.stop()
    expect(await leftBy(at, redis)).toEqual([])
  })

  test('the rights that docs/consumers.md lists are enough, for lists and for streams', async () => {
    const page = readProjectFile('docs/consumers.md')
    const rights = (from: string): string[] =>
      page
        .slice(page.indexOf(from))
        .match(/`(\+[^`]*)`/)![1]!
        .split(/\s+/)
    const connection = ['+ping', '+client', '+info']
    const warnings: string[] = []
    const log: Log = { ...silentLog, warn: (message) => void warnings.push(message) }
    const url = (user: string): string => server.url.replace('redis://', `redis://${user}:x@`)
    const lists = here('rights')
    const user = ['on', '>x', '~rights:*']
    await redis.acl('SETUSER', 'lists', ...user, ...rights('A Redis user needs'), ...connection)
    await redis.acl('SETUSER', 'streams', ...user, ...rights('on streams:'), ...connection)
    // Somebody who has ended without a word, so that everything is used.
    await redis.hset(
      'rights:consumer:v1:instances',
      'gone',
      '{"prefix":"rights:events:","events":["A"]}',
    )
    await redis.rpush(lists.key, envelopeOf({ s: 1 }))
    const events: ConsumedEvent[] = []
    const onEvent = (event: ConsumedEvent): void => void events.push(event)
    const ofList = await started({ ...lists, url: url('lists') }, { onEvent, log })
    await redis.xadd('rights:stream', '*', ...fieldsOf({ s: 2 }))
    const from = redisStream({ redis: url('streams'), keys: ['rights:stream'], group: 'bot' })
    const ofStream = await consume({ from, onEvent, log })
    await until(() => events.length === 2)
    await Promise.all([ofList.stop(), ofStream.stop()])
    expect(warnings).toEqual([])
    expect(await redis.xinfo('CONSUMERS', 'rights:stream', 'bot')).toEqual([])
    expect(await leftBy(lists, redis)).toEqual([])
  })

  test('a wrong password and a wrong address end the start with their cure', async () => {
    await redis.config('SET', 'requirepass', 'secret')
    const at = here('refused')
    await expect(started(at, { onEvent: () => undefined })).rejects.toMatchObject({
      code: 'CONSUMER_REFUSED',
      message: expect.stringContaining('NOAUTH') as string,
    })
    const url = server.url.replace('redis://', 'redis://:secret@')
    await started({ ...at, url }, { onEvent: () => undefined })
    await redis.config('SET', 'requirepass', '')
  })
})

test.each([[[]], [range(1, 101).map((n) => `EVENT_${n}`)]])(
  'no list and more than 100 are refused',
  (events) => {
    expect(() => redisList({ redis: 'localhost:1', events })).toThrow('CONSUMER_BAD_OPTION')
  },
)
