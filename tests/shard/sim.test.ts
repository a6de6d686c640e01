import { createHash } from 'node:crypto'
import { afterEach, expect, test } from 'vitest'
import {
  memoryCounters,
  Secret,
  silentLog,
  systemClock,
  systemRandom,
} from '../../src/base/index.ts'
import { decodeTermAt } from '../../src/etf/index.ts'
import { IdentifyBudget, MemoryIdentifyGate } from '../../src/cluster/index.ts'
import { fetchGatewayBot } from '../../src/shard/index.ts'
import { startSim } from '../../sim/index.ts'
import type { Sim, SimOptions } from '../../sim/index.ts'
import { ArrayIdentifyLog } from '../cluster/contract.ts'
import { until } from '../support/until.ts'
import { World } from './world.ts'

const stops: (() => Promise<void>)[] = []

afterEach(async () => {
  for (const stop of stops.splice(0).toReversed()) await stop()
})

interface Fleet {
  readonly sim: Sim
  readonly world: World
  readonly identifyLog: ArrayIdentifyLog
  /** Starts a process on the same stores. */
  start(options?: Parameters<World['manager']>[1]): ReturnType<World['manager']>
}

async function fleet(shards: number, options: Partial<SimOptions> = {}): Promise<Fleet> {
  const sim = await startSim({ guilds: shards * 5, maxConcurrency: shards, rate: 300, ...options })
  stops.push(() => sim.stop())
  const world = new World()
  world.shardCount = shards
  stops.push(() => world.stop())
  const identifyLog = new ArrayIdentifyLog()
  const token = sim.token
  const bot = {
    api: sim.apiUrl,
    token: new Secret(token),
    userAgent: 'DiscordBot (https://example.org, 1.0)',
    clock: systemClock,
    random: systemRandom,
    log: silentLog,
  }
  const { sessionStartLimit, url } = options.tls
    ? { sessionStartLimit: undefined, url: sim.gatewayUrl }
    : await fetchGatewayBot(bot)
  const start: Fleet['start'] = (given = {}) => {
    const limit = sessionStartLimit ?? {
      total: 1000,
      remaining: 1000,
      resetAfterMs: 1000,
      maxConcurrency: shards,
    }
    const budget = new IdentifyBudget({
      log: identifyLog,
      fetchLimit: () => Promise.resolve(limit),
      limit,
      clock: systemClock,
      logger: silentLog,
    })
    const gate = new MemoryIdentifyGate({
      maxConcurrency: limit.maxConcurrency,
      budget,
      identifyLog,
      worker: 'test',
      clock: systemClock,
      log: silentLog,
      counters: memoryCounters(),
    })
    return world.manager(url, { token, gate, intents: 53608447, ...given })
  }
  return { sim, world, identifyLog, start }
}

function allReady({ sim, world }: Fleet): Promise<void> {
  const manager = world.managers.at(-1)!
  return until(
    () =>
      sim.stats().connectedSessions === world.shardCount &&
      manager.status().every(({ state }) => state === 'ready'),
    { what: 'every shard ready', timeoutMs: 15_000 },
  )
}

/** Waits until every session's last event has arrived, the world standing still. */
async function settled({ sim, world }: Fleet): Promise<void> {
  sim.setRate(0)
  const manager = world.managers.at(-1)!
  await until(
    () =>
      manager.status().every(({ sessionId, received }) => {
        const events = [...sim.ledger.events({ session: sessionId ?? '' })]
        return received >= (events.at(-1)?.s ?? 0)
      }),
    { what: 'every event of the ledger', timeoutMs: 15_000 },
  )
}

/** Every event of the ledger once, in order, byte for byte, but for what its own rules lost. */
function expectTruth({ sim, world }: Fleet, lost: (session: string, s: number) => boolean): void {
  const bySession = new Map<string, string[]>()
  for (const { sessionId, sequence, eventName, d } of world.sink.events) {
    const hash = createHash('sha1').update(d).digest('hex')
    const seen = bySession.get(sessionId) ?? []
    bySession.set(sessionId, seen)
    seen.push(`${sequence} ${eventName} ${hash}`)
  }
  for (const [session, seen] of bySession) {
    const wanted = [...sim.ledger.events({ session })]
      .filter((event) => event.t !== 'RESUMED' && !lost(session, event.s))
      .map((event) => `${event.s} ${event.t} ${event.hash}`)
    expect(seen).toEqual(wanted)
  }
}

const nothing = (): boolean => false

/** From JSON: the same values, with ids as the strings that JSON has. */
function expectSameMeaning({ sim, world }: Fleet): void {
  for (const { sessionId } of world.managers[0]!.status()) {
    const session = sessionId ?? ''
    const wanted = [...sim.ledger.events({ session })].map(({ s, t, d }) => [s, t, meaning(d!)])
    const seen = world.sink.events
      .filter((event) => event.sessionId === session)
      .map(({ sequence, eventName, d }) => [sequence, eventName, meaning(d)])
    expect(seen).toEqual(wanted)
  }
}

function meaning(d: Buffer): unknown {
  const value = decodeTermAt(d, 0, d.length)
  const text = JSON.stringify(value, (_key, part: unknown) =>
    typeof part === 'bigint' ? part.toString() : part,
  )
  return JSON.parse(text)
}

test.each([
  ['etf', 'zlib-stream', false],
  ['etf', 'zstd-stream', false],
  ['etf', 'none', true],
  ['json', 'zlib-stream', false],
] as const)(
  '4 shards over %s and %s, TLS %s, see every event of the ledger',
  async (encoding, compress, tls) => {
    const it = await fleet(4, { tls, rate: 1000 })
    const ca = it.sim.certificate?.cert
    it.start({ query: { encoding, compress }, ...(ca === undefined ? {} : { ca }) })
    await allReady(it)
    const before = it.world.sink.events.length
    await until(() => it.world.sink.events.length > before + 300)
    await settled(it)
    expect(it.sim.ledger.identifies.map(({ outcome }) => outcome)).toEqual(Array(4).fill('ready'))
    expect(it.identifyLog.rows.map(({ why }) => why)).toEqual(Array(4).fill('first'))
    if (encoding === 'etf') expectTruth(it, nothing)
    else expectSameMeaning(it)
  },
)

test('drops, silence, op 7, op 9 true, split and joined frames, missing ACKs and corrupt streams lose nothing and identify nothing', async () => {
  const it = await fleet(4, { heartbeatIntervalMs: 400 })
  it.start({ timeouts: { silenceMs: 500, helloMs: 400 } })
  await allReady(it)
  const { sim } = it
  const faults = [
    () => sim.fault({ kind: 'split', shard: 0, by: 'messages', pieces: 3, count: 40 }),
    () => sim.fault({ kind: 'split', shard: 1, by: 'segments', pieces: 5, count: 40 }),
    () => sim.fault({ kind: 'coalesce', shard: 2, ms: 50 }),
    () => sim.fault({ kind: 'tcp-drop', shard: 0 }),
    () => sim.fault({ kind: 'reconnect', shard: 1 }),
    () => sim.fault({ kind: 'invalid-session', shard: 2, resumable: true }),
    () => sim.fault({ kind: 'corrupt-stream', shard: 3 }),
    () => sim.fault({ kind: 'close', shard: 0, code: 4000 }),
    () => sim.fault({ kind: 'garbage', shard: 1, what: 'truncated' }),
    () => sim.fault({ kind: 'ack-missing', shard: 2, count: 3 }),
    () => sim.fault({ kind: 'silence', shard: 3 }),
    () => sim.fault({ kind: 'heartbeat-request' }),
    () => sim.fault({ kind: 'no-hello' }),
    () => sim.fault({ kind: 'tcp-drop', shard: 0 }),
    () => sim.fault({ kind: 'reconnect-before-hello' }),
    () => sim.fault({ kind: 'tcp-drop', shard: 1 }),
    () => sim.fault({ kind: 'refuse-connection' }),
    () => sim.fault({ kind: 'tcp-drop', shard: 2 }),
    () => sim.fault({ kind: 'refuse-resume', resumable: true }),
    () => sim.fault({ kind: 'slow-replay', delayMs: 5 }),
    () => sim.fault({ kind: 'tcp-drop', shard: 3 }),
  ]
  for (const fault of faults) {
    const before = it.world.sink.events.length
    await until(() => {
      try {
        fault()
        return true
      } catch {
        return false
      }
    })
    await until(() => it.world.sink.events.length > before + 30)
  }
  await allReady(it)
  await settled(it)
  expectTruth(it, nothing)
  expect(it.world.gaps).toEqual([])
  expect(it.sim.ledger.identifies).toHaveLength(4)
  expect(it.sim.ledger.resumes.every(({ sameQuery }) => sameQuery)).toBe(true)
})

test.each([
  'unknown-tag',
  'truncated',
  'huge-list',
  'huge-map',
  'huge-binary',
  'huge-name',
  'bad-version',
  'not-a-map',
  'bomb',
])('garbage (%s) costs one connection: it resumes, nothing is lost', async (what) => {
  const it = await fleet(2)
  it.start()
  await allReady(it)
  it.sim.fault({ kind: 'garbage', shard: 0, what })
  await until(() => it.world.managers[0]!.status()[0]!.badFrames === 1)
  await allReady(it)
  await settled(it)
  expectTruth(it, nothing)
  expect(it.world.gaps).toEqual([])
  expect(it.world.managers[0]!.status().map(({ connections }) => connections)).toEqual([2, 1])
})

test('refused sessions are the gaps of the ledger, and each costs one identify', async () => {
  const it = await fleet(3, { identifyWindowMs: 0 })
  it.start({ gate: it.world.gate })
  await allReady(it)
  const first = it.world.managers[0]!.status().map(({ sessionId }) => sessionId)
  it.sim.fault({ kind: 'invalid-session', shard: 0, resumable: false })
  it.sim.fault({ kind: 'close', shard: 1, code: 4009 })
  it.sim.fault({ kind: 'expire-session', shard: 2 })
  await until(() => it.sim.ledger.identifies.length === 6)
  await allReady(it)
  await settled(it)
  expect(new Set(it.world.gaps.map(({ sessionId }) => sessionId))).toEqual(new Set(first))
  expect(it.world.gaps).toHaveLength(3)
  for (const gap of it.sim.ledger.gaps()) {
    const ours = it.world.gaps.find(({ sessionId }) => sessionId === gap.session)
    expect(ours?.from).toBeLessThanOrEqual(gap.lastSent + 1)
  }
  const lost = (session: string, s: number): boolean =>
    it.world.gaps.some(({ sessionId, from }) => sessionId === session && s >= from)
  expectTruth(it, lost)
  expect(it.sim.ledger.identifies.map(({ outcome }) => outcome)).toEqual(Array(6).fill('ready'))
})

test('a restart of the process resumes every shard and identifies nothing', async () => {
  const it = await fleet(4)
  const before = it.start()
  await allReady(it)
  await before.stop()
  await until(() => it.sim.ledger.closes.filter(({ by }) => by === 'client').length === 4)
  expect(it.sim.ledger.closes.filter(({ by }) => by === 'client').map(({ code }) => code)).toEqual(
    Array(4).fill(4900),
  )
  it.sim.step(200)
  it.start()
  await allReady(it)
  await settled(it)
  expect(it.sim.ledger.identifies).toHaveLength(4)
  expect(it.sim.ledger.resumes.map(({ outcome }) => outcome)).toEqual(Array(4).fill('resumed'))
  expectTruth(it, nothing)
})

test('a full queue parks the shards; with room again nothing is missing', async () => {
  const it = await fleet(2)
  it.start()
  await allReady(it)
  it.world.sink.isFull = true
  await until(() => it.world.managers[0]!.status().every(({ state }) => state === 'parked'))
  it.sim.step(50)
  it.world.sink.room()
  await allReady(it)
  await settled(it)
  expectTruth(it, nothing)
  expect(it.world.gaps).toEqual([])
})

test.each([
  ['another token', { token: 'wrong' }, 4004],
  ['an unknown intent', { intents: 1 << 30 }, 4013],
] as const)('%s is fatal, with the cure', async (_name, options, code) => {
  const it = await fleet(1)
  it.start(options)
  await until(() => it.world.fatal.length === 1)
  expect(it.world.fatal[0]!.details['closeCode']).toBe(code)
})

test('the REST API’s refusal of a token is fatal at once', async () => {
  const sim = await startSim({})
  stops.push(() => sim.stop())
  const fetching = fetchGatewayBot({
    api: sim.apiUrl,
    token: new Secret('wrong'),
    userAgent: 'test',
    clock: systemClock,
    random: systemRandom,
    log: silentLog,
  })
  await expect(fetching).rejects.toThrow('SHARD_TOKEN_REFUSED')
})
