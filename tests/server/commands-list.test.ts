/** Commands as JSON in a Redis list, on a real Redis. */
import { Redis } from 'ioredis'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import {
  type Log,
  memoryCounters,
  seededRandom,
  silentLog,
  systemClock,
} from '../../src/base/index.ts'
import { CommandSource } from '../../src/push/index.ts'
import { JsonCommands } from '../../src/server/index.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { sharedRedis } from '../support/redis.ts'
import { until } from '../support/until.ts'
import { type CommandsWorld, startCommandsWorld } from './commands-world.ts'

const redis = sharedRedis()
const key = `${redis.prefix}commands`
const replies = `${redis.prefix}replies`
const lists: CommandSource[] = []
let client: Redis

beforeAll(() => {
  client = new Redis(redis.url)
})

afterEach(async () => {
  for (const list of lists.splice(0)) await list.stop()
  await client.del(key, replies, `${key}:workers`)
})

afterAll(() => client.disconnect())

function start(
  handle: ConstructorParameters<typeof CommandSource>[0]['handle'],
  options: { staleMs?: number; clock?: FakeClock } = {},
): CommandSource {
  const list = new CommandSource({
    form: 'list',
    address: redis.url,
    key,
    connectionName: 'test',
    handle,
    clock: systemClock,
    random: seededRandom(1),
    log: silentLog,
    counters: memoryCounters(),
    ...options,
  })
  lists.push(list)
  list.start()
  return list
}

async function nextReply(): Promise<Record<string, unknown>> {
  const [, text] = (await client.blpop(replies, 10))!
  return JSON.parse(text) as Record<string, unknown>
}

async function processing(): Promise<number> {
  let count = 0
  for (const name of await client.keys(`${key}:processing:*`)) count += await client.llen(name)
  return count
}

describe('the list', () => {
  test('is taken in order, each command stays until it is through, and what a gone worker had comes again', async () => {
    await client.rpush(key, 'a', 'b', 'c')
    const first: string[] = []
    const end = Promise.withResolvers<void>()
    const clock = new FakeClock()
    start((text) => (first.push(text), end.promise), { clock })
    await until(async () => {
      await clock.advance(100)
      return first.length === 3
    })
    expect(first).toEqual(['a', 'b', 'c'])
    expect(await processing()).toBe(3)
    // Its time stands still from now on: it neither takes nor renews.
    await killConnections()
    const second: string[] = []
    start((text) => (second.push(text), Promise.resolve()), { staleMs: 200 })
    await until(() => second.length === 3)
    expect(second).toEqual(['a', 'b', 'c'])
    await until(async () => (await processing()) === 0)
    expect(await client.zcard(`${key}:workers`)).toBe(1)
    end.resolve()
  })

  test('gets back at a stop what is not through, and is not left by a broken connection', async () => {
    const seen: string[] = []
    const list = start((text) => (seen.push(text), new Promise(() => undefined)))
    await until(async () => (await client.zcard(`${key}:workers`)) === 1)
    await killConnections()
    await client.rpush(key, 'a', 'b')
    await until(() => seen.length === 2, { timeoutMs: 10_000 })
    await list.stop()
    expect(await client.lrange(key, 0, -1)).toEqual(['a', 'b'])
    expect(await processing()).toBe(0)
  })

  async function killConnections(): Promise<void> {
    for (const line of String(await client.client('LIST')).split('\n')) {
      if (!line.includes('name=test-commands ')) continue
      await client.client('KILL', 'ID', /id=(\d+)/.exec(line)![1]!)
    }
  }
})

describe('JSON', () => {
  let world: CommandsWorld
  const logged: string[] = []
  const log: Log = {
    ...silentLog,
    warn: (message, fields) => logged.push(`${message} ${JSON.stringify(fields)}`),
    error: (message, fields) => logged.push(`${message} ${JSON.stringify(fields)}`),
  }

  beforeAll(async () => {
    world = await startCommandsWorld()
  }, 30_000)

  afterAll(() => world.stop())

  function push(...commands: readonly (object | string)[]): Promise<number> {
    const texts = commands.map((one) => (typeof one === 'string' ? one : JSON.stringify(one)))
    return client.rpush(key, ...texts)
  }

  function startJson(): void {
    const json = new JsonCommands({
      commands: world.workers[0]!.commands,
      clock: systemClock,
      log,
    })
    start((text, reply) => json.handle(text, reply))
  }

  test('is carried out by the worker that holds the shard, and answered into the list that it names', async () => {
    const guild_id = world.guild(1).toString()
    const channel_id = world.channel(world.guild(1)).toString()
    await push({ command: 'UpdateVoiceState', id: '7', reply: replies, guild_id, channel_id })
    startJson()
    expect(await nextReply()).toEqual({
      id: '7',
      command: 'UpdateVoiceState',
      last: true,
      answers: [{ shard: 1, outcome: 'DONE' }],
    })
    const who = { guild_id, user_ids: ['123'], nonce: 'n' }
    await push({ command: 'RequestGuildMembers', id: '8', reply: replies, ...who })
    const about = { shard: 1, guild_id, nonce: 'n' }
    expect(await nextReply()).toMatchObject({
      last: false,
      answers: [{ ...about, outcome: 'SENT' }],
    })
    expect(await nextReply()).toMatchObject({
      id: '8',
      last: true,
      answers: [{ ...about, outcome: 'DONE', not_found: ['123'], chunks: 1 }],
    })
    await until(async () => (await processing()) === 0)
    expect(await client.ttl(replies)).toBe(-2)
    await push({ command: 'UpdatePresence', presence: { status: 'idle' } })
    const { commands } = world.sim.gateway.commands
    await until(() => commands.filter(({ op }) => op === 3).length === 2)
  })

  test.each([
    [{ command: 'UpdateVoiceStat' }, 'UpdateVoiceState, perhaps'],
    [{ command: 'UpdateVoiceState', guild_id: 5 }, 'guild_id'],
    [{ command: 'UpdateVoiceState', guildid: '5' }, 'guild_id, perhaps'],
    [{ command: 'UpdatePresence', presence: { status: 'busy' } }, 'status'],
    [{ command: 'UpdatePresence', expires_at: 'soon' }, 'expires_at'],
  ])('%j is refused with the field', async (command, reason) => {
    startJson()
    await push({ ...command, id: '1', reply: replies })
    expect(await nextReply()).toMatchObject({
      id: '1',
      last: true,
      answers: [
        {
          outcome: 'REFUSED',
          code: 'SERVER_BAD_REQUEST',
          reason: expect.stringContaining(reason) as string,
        },
      ],
    })
  })

  test('that is none, or has no reply, is logged and gone; one that came too late is not carried out', async () => {
    startJson()
    const expires_at = Date.now() - 1
    await push('{"command": ', '[]', '{"command":"Nothing","token":"s3cret"}', {
      command: 'UpdateVoiceState',
      guild_id: world.guild(1).toString(),
      reply: replies,
      expires_at,
    })
    expect(await nextReply()).toMatchObject({
      id: null,
      answers: [{ outcome: 'REFUSED', code: 'SERVER_COMMAND_EXPIRED' }],
    })
    await until(async () => (await processing()) === 0)
    expect(logged).toHaveLength(3)
    expect(logged.join()).not.toContain('s3cret')
    expect(world.sim.gateway.commands.broken()).toEqual([])
  })
})
