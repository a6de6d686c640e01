/** What membership is ahead of, it remembers: a contract of both databases. */
import { beforeEach, describe, expect, it } from 'vitest'
import { silentLog } from '../../src/base/index.ts'
import { GuildMembership } from '../../src/cache/index.ts'
import { encodeTerm } from '../../src/etf/index.ts'
import { GuildLifecycle, type StoredSession } from '../../src/shard/index.ts'
import type { TestCache } from './cache-setup.ts'

const SHARD = 0
const FENCE = { epoch: 1, revision: 1 }
const SESSION = 'session'

/** What may happen to a guild. */
const HAPPENINGS: readonly (readonly [eventName: string, more: object])[] = [
  ['GUILD_CREATE', { name: 'x', unavailable: false }],
  ['GUILD_CREATE', { unavailable: true }],
  ['GUILD_DELETE', { unavailable: true }],
  ['GUILD_DELETE', {}],
]
/** What membership may say of it before; undefined: nothing. */
const STATES = [undefined, 'present', 'unavailable', 'joining'] as const
const STEPS = 3
const STORIES = HAPPENINGS.length ** STEPS * STATES.length

/** Every story is that of one guild. */
const guildOf = (story: number): bigint => 800_000_000_000_000_000n + BigInt(story)

interface Told {
  readonly eventName: string
  readonly d: object
  readonly sequence: number
}

/** The first step of all stories, then the second of all, and so on. */
const EVENTS: readonly Told[] = Array.from({ length: STORIES * STEPS }, (_, index) => {
  const story = index % STORIES
  const digits = Math.floor(story / STATES.length)
  const digit = Math.floor(digits / HAPPENINGS.length ** Math.floor(index / STORIES))
  const [eventName, more] = HAPPENINGS[digit % HAPPENINGS.length]!
  return { eventName, d: { id: guildOf(story), ...more }, sequence: index + 1 }
})

/** @param opened the cache of the test that runs. */
export function describeReplay(opened: () => TestCache): void {
  describe('a replay', () => replay(opened))
}

function replay(opened: () => TestCache): void {
  let cache: TestCache

  beforeEach(async () => {
    cache = opened()
    await cache.sessions.saveSession(SHARD, FENCE, sessionOf(SESSION, 0))
    await cache.database.query('update gateway_sessions set is_membership_filled = true')
  })

  const acknowledge = (sequence: number): Promise<number[]> =>
    cache.sessions.saveAcknowledged([
      { shardId: SHARD, fence: FENCE, sessionId: SESSION, sequence },
    ])
  const noted = (): Promise<number[]> =>
    cache.column('select sequence::int4 from gateway_replay_classes')

  /** A new owner of the shard reads these events and commits them. @returns their classes */
  async function receive(events: readonly Told[], sessionId = SESSION): Promise<string[]> {
    const lifecycle = new GuildLifecycle({
      membership: new GuildMembership(cache),
      log: silentLog,
      onLeft: () => undefined,
    })
    await lifecycle.load(SHARD, 1)
    const classes = events.map(({ eventName, d, sequence }) => {
      const bytes = encodeTerm(d)
      const event = {
        shardId: SHARD,
        shardCount: 1,
        sessionId,
        sequence,
        position: sequence,
        eventName,
        receivedAtMs: 0,
        bytes,
        start: 1,
        end: bytes.length,
      }
      const guildClass = lifecycle.classify({ ...event, guildClass: '' })
      cache.writeBytes(eventName, bytes, { guildClass, shardId: SHARD, sessionId, sequence })
      return guildClass
    })
    await cache.writer.flush()
    return classes
  }

  it('gives every event the class that it had, wherever the acknowledged sequence stands and whenever it is cut', async () => {
    for (const [index, state] of STATES.entries()) {
      if (state === undefined) continue
      const guilds = Array.from({ length: STORIES / STATES.length }, (_, story) =>
        guildOf(story * STATES.length + index),
      )
      await cache.database.query(
        'insert into guilds_persistent (id, state) select unnest($1::int8[]), $2',
        [guilds, state],
      )
    }
    const first = await receive(EVENTS)
    expect(new Set(first)).toEqual(
      new Set(['joined', 'available', 'joining', 'unavailable', 'left']),
    )
    // Twice from each point: the first successor dies on its way, after what it did was committed.
    for (const from of [0, STORIES / 2, STORIES, STORIES * 2 + 7]) {
      await acknowledge(from)
      const unacknowledged = EVENTS.slice(from)
      for (const count of [STORIES / 2, unacknowledged.length]) {
        const cut = unacknowledged.slice(0, count)
        expect(await receive(cut)).toEqual(first.slice(from, from + cut.length))
      }
    }
  })

  it('a class is noted until its sequence is acknowledged, or the session has another after it', async () => {
    const [create, stub, , leave] = HAPPENINGS.map(([eventName, more]) => ({ eventName, more }))
    const told = (one: typeof create, story: number, sequence: number): Told => ({
      eventName: one!.eventName,
      d: { id: guildOf(story), ...one!.more },
      sequence,
    })
    await receive([told(create, 1, 2), told(create, 1, 3), told(stub, 2, 4)])
    expect(await noted()).toEqual([2, 4])
    await acknowledge(3)
    await receive([told(leave, 1, 5)])
    expect(await noted()).toEqual([4, 5])
    await receive([told(create, 3, 2)], 'next')
    expect(await noted()).toEqual([2, 4, 5])
    await cache.sessions.saveSession(SHARD, FENCE, sessionOf('next', 1))
    await receive([told(leave, 3, 3)], 'next')
    expect(await noted()).toEqual([2, 3])
  })
}

function sessionOf(sessionId: string, sequence: number): StoredSession {
  return {
    sessionId,
    resumeGatewayUrl: 'wss://gateway.discord.gg',
    sequence,
    shardCount: 1,
    intents: 1,
    query: { v: 10, encoding: 'etf', compress: 'zlib-stream' },
  }
}
