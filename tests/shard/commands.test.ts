/** Commands against the simulator's own accounting, with time handed in. */
import { beforeEach, describe, expect, test } from 'vitest'
import { CommandLog } from '../../sim/command-log.ts'
import { seededRandom } from '../../src/base/index.ts'
import { Opcode } from '../../src/discord/index.ts'
import {
  FILL_NONCE_PREFIX,
  MemberRequests,
  type MembersProgress,
  type MembersWanted,
} from '../../src/shard/commands/member-requests.ts'
import { CommandScheduler, type Lane } from '../../src/shard/commands/scheduler.ts'
import { SendLimiter } from '../../src/shard/commands/send-limiter.ts'
import { FakeClock } from '../support/fake-clock.ts'

interface Sent {
  readonly op: number
  readonly d: Readonly<Record<string, unknown>>
}

let clock: FakeClock
let limiter: SendLimiter
let log: CommandLog
let sent: Sent[]
let scheduler: CommandScheduler
let requests: MemberRequests
let isReady: boolean

beforeEach(() => {
  clock = new FakeClock()
  limiter = new SendLimiter(clock)
  limiter.reset(41_250)
  log = new CommandLog()
  sent = []
  isReady = true
  scheduler = new CommandScheduler(clock, limiter, (op, d) => {
    record(op, d)
    sent.push({ op, d: d as Sent['d'] })
  })
  requests = new MemberRequests({
    clock,
    random: seededRandom(1),
    scheduler,
    isReady: () => isReady,
  })
})

/** As the simulator's connection writes it down. */
function record(op: number, d: unknown): void {
  const { guild_id, query, user_ids } = (d ?? {}) as Record<string, string | undefined>
  const isWhole = op === Opcode.RequestGuildMembers && query === '' && user_ids === undefined
  const wholeListOf = isWhole ? BigInt(guild_id!) : null
  log.record({ atMs: clock.monotonic(), connection: 1, shard: 0, op, wholeListOf })
}

function submit(lane: Lane, op: number, d: unknown = {}): ReturnType<CommandScheduler['submit']> {
  return scheduler.submit({ lane, op, d })
}

async function reasonOf(promise: Promise<void>): Promise<string> {
  return promise.then(
    () => 'sent',
    (error: unknown) => String(error),
  )
}

describe('the scheduler', () => {
  test('breaks no limit under ten minutes of random commands of every kind, reconnects and heartbeats', async () => {
    const random = seededRandom(7)
    scheduler.ready()
    let submitted = 0
    for (let elapsed = 0; elapsed < 600_000; elapsed += 250) {
      if (elapsed % 41_250 === 0) {
        limiter.record()
        record(Opcode.Heartbeat, null)
      }
      if (random() < 0.3) submit('presence', Opcode.PresenceUpdate)
      for (let count = Math.floor(random() * 4); count > 0; count--) {
        try {
          if (random() < 0.5) submit('direct', Opcode.VoiceStateUpdate)
          else {
            const guildId = BigInt(1 + Math.floor(random() * 40))
            const isFill = random() < 0.5
            requests.request({ guildId, presences: false, nonce: '', isFill }, () => undefined)
          }
          submitted++
        } catch (error) {
          expect(String(error)).toContain('SHARD_SEND_QUEUE_FULL')
        }
      }
      if (random() < 0.002) {
        scheduler.away()
        await clock.advance(1500)
        // A new connection in the same session: its window is empty, Discord's for presences is taken as the session's.
        scheduler.ready()
      }
      await clock.advance(250)
    }
    expect(submitted).toBeGreaterThan(1000)
    expect(sent.length).toBeGreaterThan(1000)
    expect(new Set(sent.map(({ op }) => op))).toEqual(new Set([3, 4, 8]))
    expect(log.broken()).toEqual([])
  })

  test('tells the place and the time of what waits', () => {
    scheduler.ready()
    let last = submit('direct', 4)
    expect(last).toMatchObject({ position: 0, waitMs: 0 })
    for (let count = 1; count < 116; count++) last = submit('direct', 4)
    expect(last).toMatchObject({ position: 1, waitMs: 60_000 })
    expect(submit('direct', 4)).toMatchObject({ position: 2, waitMs: 60_000 })
  })

  test('sends the newest presence only, and says so to the older one', async () => {
    scheduler.ready()
    for (let index = 0; index < 5; index++) submit('presence', 3, { status: index })
    const older = submit('presence', 3, { status: 'older' })
    expect(older).toMatchObject({ position: 1, waitMs: 20_000 })
    submit('presence', 3, { status: 'newest' })
    expect(await reasonOf(older.sent)).toContain('SHARD_PRESENCE_REPLACED')
    await clock.advance(20_000)
    expect(sent.slice(5).map(({ d }) => d['status'])).toEqual(['newest'])
    expect(log.broken()).toEqual([])
  })

  test('counts the presence of an IDENTIFY', () => {
    scheduler.presenceSent()
    scheduler.ready()
    for (let index = 0; index < 5; index++) submit('presence', 3)
    expect(sent).toHaveLength(4)
  })

  test('lets voice pass by a thousand fills', async () => {
    scheduler.ready()
    for (let index = 0; index < 240; index++) submit('fill', 8, { query: 'x', guild_id: '1' })
    expect(sent).toHaveLength(60)
    submit('direct', 4)
    expect(sent.at(-1)!.op).toBe(4)
    await clock.advance(60_000)
    expect(sent.filter(({ op }) => op === 8)).toHaveLength(120)
  })

  test('keeps commands through a reconnect, and refuses them after a minute without a session', async () => {
    scheduler.ready()
    scheduler.away()
    const first = submit('direct', 4)
    await clock.advance(5000)
    scheduler.ready()
    expect(await reasonOf(first.sent)).toBe('sent')
    scheduler.away()
    const second = submit('direct', 4)
    await clock.advance(60_000)
    expect(await reasonOf(second.sent)).toContain('SHARD_NOT_READY')
    expect(() => submit('direct', 4)).toThrow('SHARD_NOT_READY')
    scheduler.ready()
    expect(submit('direct', 4).position).toBe(0)
  })

  test('takes a waiting command back, and refuses all at its end', async () => {
    const first = submit('direct', 4, { n: 1 })
    const second = submit('direct', 4, { n: 2 })
    first.withdraw()
    expect(await reasonOf(first.sent)).toContain('SHARD_COMMAND_WITHDRAWN')
    scheduler.end()
    expect(await reasonOf(second.sent)).toContain('SHARD_NOT_READY')
    expect(clock.timerCount).toBe(0)
  })

  test('holds an op that Discord has rate limited', async () => {
    scheduler.ready()
    scheduler.hold(31, 3000)
    expect(submit('direct', 31)).toMatchObject({ position: 1, waitMs: 3000 })
    submit('direct', 4)
    expect(sent.map(({ op }) => op)).toEqual([4])
    await clock.advance(3000)
    expect(sent.map(({ op }) => op)).toEqual([4, 31])
  })
})

describe('requests for members', () => {
  const whole: MembersWanted = { guildId: 5n, presences: false, nonce: '' }

  function ask(wanted: MembersWanted): MembersProgress[] {
    const seen: MembersProgress[] = []
    requests.request(wanted, (progress) => seen.push(progress))
    return seen
  }

  function chunk(nonce: string, index: number, count: number, notFound: string[] = []): void {
    requests.onChunk({ nonce, index, count, members: 10, notFound })
  }

  const outcomes = (seen: readonly MembersProgress[]): string[] => seen.map((one) => one.outcome)

  test('end with the last chunk, whatever their order, and count each once', () => {
    scheduler.ready()
    const seen = ask({ guildId: 5n, userIds: [1n, 2n], presences: false, nonce: 'mine' })
    expect(sent[0]!.d).toEqual({ guild_id: '5', user_ids: ['1', '2'], nonce: 'mine' })
    chunk('mine', 1, 2, ['2'])
    chunk('mine', 1, 2, ['2'])
    chunk('other', 0, 2)
    expect(outcomes(seen)).toEqual(['SENT', 'SENT'])
    chunk('mine', 0, 2)
    expect(seen.at(-1)).toMatchObject({ outcome: 'DONE', chunks: 2, members: 20, notFound: ['2'] })
    chunk('mine', 0, 2)
    expect(seen).toHaveLength(3)
    expect(clock.timerCount).toBe(0)
  })

  test('that are equal join; with a nonce of its own a whole list waits for the next 30 s', async () => {
    scheduler.ready()
    const first = ask(whole)
    const joined = ask(whole)
    const named = ask({ ...whole, nonce: 'mine' })
    const other = ask({ ...whole, guildId: 6n })
    expect(sent).toHaveLength(2)
    expect(outcomes(other)).toEqual(['SENT'])
    expect(named[0]).toMatchObject({ outcome: 'QUEUED', position: 1, waitMs: 30_250 })
    chunk(first[0]!.nonce, 0, 1)
    expect([outcomes(first).at(-1), outcomes(joined).at(-1)]).toEqual(['DONE', 'DONE'])
    await clock.advance(30_249)
    expect(sent).toHaveLength(2)
    await clock.advance(1)
    expect(sent[2]!.d['nonce']).toBe('mine')
    expect(() =>
      ask({ guildId: 7n, query: 'a', limit: 1, presences: false, nonce: 'mine' }),
    ).toThrow('SHARD_NONCE_TAKEN')
    expect(log.broken()).toEqual([])
  })

  test('wait as long as RATE_LIMITED says, and tell until when', async () => {
    scheduler.ready()
    const seen = ask(whole)
    const { nonce } = seen[0]!
    requests.onRateLimited(5n, nonce, 12_500)
    expect(seen.at(-1)).toMatchObject({
      outcome: 'QUEUED',
      rateLimitedUntilMs: clock.now() + 12_500,
    })
    await clock.advance(30_249)
    expect(sent).toHaveLength(1)
    await clock.advance(1)
    expect(sent).toHaveLength(2)
    chunk(nonce, 0, 1)
    expect(seen.at(-1)!.outcome).toBe('DONE')
  })

  test('of a fill carry a nonce that keeps their chunks from the queues, and are joined by nobody', () => {
    scheduler.ready()
    ask({ ...whole, isFill: true })
    expect(String(sent[0]!.d['nonce'])).toMatch(new RegExp(`^${FILL_NONCE_PREFIX}`))
    expect(ask(whole)[0]!.outcome).toBe('QUEUED')
  })

  test('are asked again in a new session and once after silence, then refused; a reconnect is no silence', async () => {
    scheduler.ready()
    const seen = ask({ guildId: 5n, query: 'a', limit: 1, presences: false, nonce: 'n' })
    isReady = false
    await clock.advance(45_000)
    isReady = true
    requests.onNewSession()
    expect(sent).toHaveLength(2)
    chunk('n', 0, 2)
    await clock.advance(30_000)
    expect(sent).toHaveLength(3)
    expect(seen.at(-1)).toMatchObject({ outcome: 'SENT', chunks: 0 })
    await clock.advance(29_999)
    expect(seen.at(-1)!.outcome).toBe('SENT')
    await clock.advance(1)
    expect(seen.at(-1)!.error?.code).toBe('SHARD_MEMBERS_NO_ANSWER')
    expect(clock.timerCount).toBe(0)
  })

  test('have a bound', () => {
    scheduler.ready()
    let count = 0
    try {
      for (; count < 5000; count++) ask({ ...whole, guildId: BigInt(count + 1) })
    } catch (error) {
      expect(String(error)).toContain('SHARD_SEND_QUEUE_FULL')
    }
    expect(count).toBeLessThan(1001)
  })
})
