/** Member lists fetched by real schedulers and requests, against the simulator's accounting; time is handed in. */
import { beforeEach, describe, expect, test } from 'vitest'
import { CommandLog } from '../../sim/command-log.ts'
import { memoryCounters, seededRandom, silentLog } from '../../src/base/index.ts'
import { encodeTerm } from '../../src/etf/index.ts'
import { MemberRequests } from '../../src/shard/commands/member-requests.ts'
import { CommandScheduler } from '../../src/shard/commands/scheduler.ts'
import { SendLimiter } from '../../src/shard/commands/send-limiter.ts'
import type { Dispatch } from '../../src/shard/index.ts'
import { MemberFill } from '../../src/shard/index.ts'
import { FakeClock } from '../support/fake-clock.ts'

const SHARDS = 2

let clock: FakeClock
let log: CommandLog
/** Guild → whether its list is complete; the database, which outlives a process. */
let guilds: Map<bigint, { count: number; isComplete: boolean }>
/** Guilds asked for, in order. */
let asked: bigint[]

interface Process {
  readonly fill: MemberFill
  readonly counters: ReturnType<typeof memoryCounters>
  /** Discord answers whatever is asked with so many chunks, a moment later. */
  answers: boolean
  stop(): void
}

beforeEach(() => {
  clock = new FakeClock()
  log = new CommandLog()
  guilds = new Map()
  asked = []
})

function start(membersMax: number): Process {
  const counters = memoryCounters()
  const connection = log.newConnection()
  const requests: MemberRequests[] = []
  const schedulers: CommandScheduler[] = []
  const made: Process = {
    answers: true,
    counters,
    fill: new MemberFill({
      guilds: {
        ofShards: async (shardIds, max) =>
          incomplete(
            ({ guildId, memberCount }) => memberCount <= max && shardIds.includes(shardOf(guildId)),
          ),
        among: async (ids) => incomplete(({ guildId }) => ids.includes(guildId)),
      },
      shards: {
        readyShards: () => [0, 1],
        requestMembers: (shard, ...rest) => requests[shard]!.request(...rest),
      },
      shardOf,
      membersMax,
      clock,
      log: silentLog,
      counters,
    }),
    stop() {
      made.fill.stop()
      made.answers = false
      for (const scheduler of schedulers) scheduler.end()
    },
  }
  for (let shard = 0; shard < SHARDS; shard++) {
    const limiter = new SendLimiter(clock)
    limiter.reset(41_250)
    const scheduler = new CommandScheduler(clock, limiter, (op, d) => {
      const { guild_id, nonce } = d as { guild_id: string; nonce: string }
      const guildId = BigInt(guild_id)
      asked.push(guildId)
      const atMs = clock.monotonic()
      log.record({ atMs, connection: connection * SHARDS + shard, shard, op, wholeListOf: guildId })
      clock.setTimeout(() => {
        if (!made.answers) return
        const { count } = guilds.get(guildId)!
        const chunks = Math.max(1, Math.ceil(count / 1000))
        for (let index = 0; index < chunks; index++) {
          requests[shard]!.onChunk({ nonce, index, count: chunks, members: 10, notFound: [] })
        }
        guilds.get(guildId)!.isComplete = true
      }, 50)
    })
    scheduler.ready()
    schedulers.push(scheduler)
    requests.push(
      new MemberRequests({
        clock,
        random: seededRandom(connection),
        scheduler,
        isReady: () => true,
      }),
    )
  }
  made.fill.start()
  return made
}

const shardOf = (guildId: bigint): number => Number(guildId % BigInt(SHARDS))

function incomplete(
  which: (guild: { guildId: bigint; memberCount: number }) => boolean,
): { guildId: bigint; memberCount: number }[] {
  return [...guilds]
    .filter(([, { isComplete }]) => !isComplete)
    .map(([guildId, { count }]) => ({ guildId, memberCount: count }))
    .filter(which)
    .sort((a, b) => a.memberCount - b.memberCount)
}

function event(eventName: string, d: object, guildClass: Dispatch['guildClass'] = ''): Dispatch {
  const bytes = encodeTerm(d)
  return {
    shardId: 1,
    shardCount: SHARDS,
    sessionId: 's',
    sequence: 1,
    position: 1,
    eventName,
    guildClass,
    receivedAtMs: 0,
    bytes,
    start: 1,
    end: bytes.length,
  }
}

describe('-members all', () => {
  test('asks once for each guild, within every limit, and goes on after a restart where it stopped', async () => {
    for (let id = 1; id <= 300; id++) guilds.set(BigInt(id), { count: id * 10, isComplete: false })
    const first = start(Number.MAX_SAFE_INTEGER)
    await clock.advance(60_000)
    expect(first.counters.read('gateway_members_fetched_guilds_total')).toBe(120)
    // Four of each shard are under way or behind, the others wait.
    expect(first.counters.read('gateway_members_waiting_guilds')).toBe(180)
    const before = new Set(asked)
    first.stop()
    await clock.advance(31_000)
    const second = start(Number.MAX_SAFE_INTEGER)
    await clock.advance(180_000)
    expect([...guilds.values()].every(({ isComplete }) => isComplete)).toBe(true)
    expect(second.counters.read('gateway_members_waiting_guilds')).toBe(0)
    // Only what was under way is asked for again.
    const again = asked.filter((guildId, index) => asked.indexOf(guildId) !== index)
    expect(again.every((guildId) => before.has(guildId))).toBe(true)
    expect(again.length).toBeLessThanOrEqual(2 * 4)
    expect(log.broken()).toEqual([])
    // A gap takes the mark of one: it alone is fetched again.
    asked = []
    guilds.get(7n)!.isComplete = false
    await clock.advance(60_000)
    expect(asked).toEqual([7n])
    second.stop()
  })

  test('<=N leaves the larger ones alone', async () => {
    guilds.set(1n, { count: 100, isComplete: false })
    guilds.set(2n, { count: 101, isComplete: false })
    const made = start(100)
    await clock.advance(120_000)
    expect(asked).toEqual([1n])
    made.stop()
  })

  test('tries a guild again that Discord does not answer, never within its 30 s', async () => {
    guilds.set(1n, { count: 100, isComplete: false })
    const made = start(Number.MAX_SAFE_INTEGER)
    made.answers = false
    await clock.advance(120_000)
    expect(made.counters.read('gateway_members_failed_guilds_total')).toBe(1)
    made.answers = true
    await clock.advance(120_000)
    expect(guilds.get(1n)!.isComplete).toBe(true)
    expect(log.broken()).toEqual([])
    made.stop()
  })
})

describe('-members none', () => {
  test('asks for a guild that comes more than 5 minutes after READY, if GUILD_CREATE has not listed it whole', async () => {
    for (const id of [1n, 3n, 5n, 7n]) guilds.set(id, { count: 100, isComplete: false })
    guilds.get(3n)!.isComplete = true
    const made = start(-1)
    made.fill.onEvent(event('READY', {}))
    made.fill.onEvent(event('GUILD_CREATE', { id: 1n }, 'available'))
    await clock.advance(299_000)
    expect(asked).toEqual([])
    await clock.advance(1000)
    made.fill.onEvent(event('GUILD_CREATE', { id: 3n }, 'available'))
    made.fill.onEvent(event('GUILD_CREATE', { id: 5n }, 'joined'))
    made.fill.onEvent(event('GUILD_CREATE', { id: 7n }, 'unavailable'))
    await clock.advance(10_000)
    expect(asked).toEqual([5n])
    made.stop()
  })
})
