/**
 * What every implementation of ShardClaims and IdentifyGate must hold, on a clock that the test moves.
 */
import { describe, expect, onTestFinished, test } from 'vitest'
import type {
  Fence,
  IdentifyGate,
  IdentifyLog,
  IdentifyPermit,
  IdentifyRecord,
  SessionStartLimit,
  ShardClaim,
  ShardClaims,
} from '../../src/shard/index.ts'
import { FakeClock } from '../support/fake-clock.ts'

/** Identifies in an array. */
export class ArrayIdentifyLog implements IdentifyLog {
  readonly rows: IdentifyRecord[] = []
  failure: Error | null = null

  async record(entry: IdentifyRecord): Promise<void> {
    if (this.failure !== null) throw this.failure
    this.rows.push(entry)
  }

  async countSince(sinceMs: number, shardId: number): Promise<{ all: number; shard: number }> {
    if (this.failure !== null) throw this.failure
    const since = this.rows.filter((row) => row.atMs >= sinceMs)
    return { all: since.length, shard: since.filter((row) => row.shardId === shardId).length }
  }

  async recent(sinceMs: number): Promise<readonly { shardId: number; atMs: number }[]> {
    if (this.failure !== null) throw this.failure
    return this.rows.filter((row) => row.atMs >= sinceMs)
  }

  allowance = 0

  async takeAllowance(): Promise<boolean> {
    if (this.allowance === 0) return false
    this.allowance--
    return true
  }
}

export interface GateWorld {
  readonly clock: FakeClock
  readonly identifyLog: ArrayIdentifyLog
  readonly maxConcurrency: number
  readonly limit: SessionStartLimit
  readonly fetchLimit: () => Promise<SessionStartLimit>
}

const LIMIT: SessionStartLimit = {
  total: 1000,
  remaining: 1000,
  resetAfterMs: 24 * 3600_000,
  maxConcurrency: 1,
}

export function gateWorld(
  maxConcurrency: number,
  limit: Partial<SessionStartLimit> = {},
): GateWorld {
  const whole = { ...LIMIT, maxConcurrency, ...limit }
  return {
    clock: new FakeClock(),
    identifyLog: new ArrayIdentifyLog(),
    maxConcurrency,
    limit: whole,
    fetchLimit: () => Promise.resolve(whole),
  }
}

/** Shards that want to identify, and when each got its permit (ms since the start). */
export class Applicants {
  readonly granted: { readonly shardId: number; readonly atMs: number }[] = []
  readonly permits = new Map<number, IdentifyPermit>()
  readonly #gate: IdentifyGate
  readonly #clock: FakeClock
  readonly #startMs: number

  constructor(gate: IdentifyGate, clock: FakeClock) {
    this.#gate = gate
    this.#clock = clock
    this.#startMs = clock.monotonic()
  }

  /** Asks; once granted, commits and gives back after `readyMs` as READY would. */
  apply(
    shardId: number,
    readyMs: number,
    signal: AbortSignal = new AbortController().signal,
  ): Promise<void> {
    return this.#gate.acquire(shardId, signal).then(async (permit) => {
      const atMs = this.#clock.monotonic() - this.#startMs
      this.granted.push({ shardId, atMs })
      this.permits.set(shardId, permit)
      await permit.commit('first')
      if (readyMs === Number.POSITIVE_INFINITY) return
      this.#clock.setTimeout(() => permit.release('ready'), readyMs)
    })
  }

  get ids(): number[] {
    return this.granted.map(({ shardId }) => shardId)
  }
}

const HELD = { clock: new FakeClock(), holds: () => Promise.resolve(true) }

export interface ClaimsWorld {
  readonly start: number
  readonly stop: number
  readonly shardCount: number
  readonly clock: FakeClock
  /** What the session store says of a fence; rejects while it is away. */
  readonly holds: (shardId: number, fence: Fence) => Promise<boolean>
}

export function claimsContract(name: string, make: (world: ClaimsWorld) => ShardClaims): void {
  async function claimed(
    holds: ClaimsWorld['holds'],
  ): Promise<{ claim: ShardClaim; clock: FakeClock }> {
    const clock = new FakeClock()
    const stopping = new AbortController()
    const claims: ShardClaim[] = []
    const claiming = make({ start: 3, stop: 4, shardCount: 4, clock, holds })
    const running = claiming.run((claim) => claims.push(claim), stopping.signal)
    await clock.advance(1)
    onTestFinished(async () => {
      stopping.abort()
      await running
    })
    return { claim: claims[0]!, clock }
  }

  describe(`${name} as ShardClaims`, () => {
    test('claims every shard of its range once, each with a fence of its own', async () => {
      const stopping = new AbortController()
      const claims: ShardClaim[] = []
      const running = make({ ...HELD, start: 2, stop: 6, shardCount: 8 }).run(
        (claim) => claims.push(claim),
        stopping.signal,
      )
      await new Promise((resolve) => setImmediate(resolve))
      expect(claims.map((claim) => claim.shardId)).toEqual([2, 3, 4, 5])
      expect(new Set(claims.map((claim) => claim.fence.revision)).size).toBe(4)
      expect(await claims[0]!.confirm()).toBe(true)
      expect(claims[0]!.lost.aborted).toBe(false)
      stopping.abort()
      await running
    })

    test('a released claim is not confirmed any more', async () => {
      const stopping = new AbortController()
      const claims: ShardClaim[] = []
      const running = make({ ...HELD, start: 0, stop: 1, shardCount: 1 }).run(
        (claim) => claims.push(claim),
        stopping.signal,
      )
      await new Promise((resolve) => setImmediate(resolve))
      await claims[0]!.release()
      await claims[0]!.release()
      expect(await claims[0]!.confirm()).toBe(false)
      stopping.abort()
      await running
    })

    test('asks for its own shard and fence, and is lost once somebody else holds the shard', async () => {
      const asked: unknown[] = []
      let isHeld = true
      const { claim } = await claimed((...question) => {
        asked.push(question)
        return Promise.resolve(isHeld)
      })
      expect(await claim.confirm()).toBe(true)
      expect(asked).toEqual([[3, claim.fence]])
      isHeld = false
      expect(await claim.confirm()).toBe(false)
      expect(claim.lost.aborted).toBe(true)
      isHeld = true
      expect(await claim.confirm()).toBe(false)
    })

    test('is confirmed while the store is away', async () => {
      const { claim } = await claimed(() => Promise.reject(new Error('the store is away')))
      expect(await claim.confirm()).toBe(true)
      expect(claim.lost.aborted).toBe(false)
    })

    test('waits 2 s for the store, and is lost by a later no', async () => {
      const answer = Promise.withResolvers<boolean>()
      const { claim, clock } = await claimed(() => answer.promise)
      let confirmed: boolean | null = null
      void claim.confirm().then((isConfirmed) => (confirmed = isConfirmed))
      await clock.advance(1900)
      expect(confirmed).toBe(null)
      await clock.advance(200)
      expect(confirmed).toBe(true)
      answer.resolve(false)
      await clock.advance(1)
      expect(claim.lost.aborted).toBe(true)
    })

    test('claims nothing for a signal that was aborted before', async () => {
      const claims: ShardClaim[] = []
      await make({ ...HELD, start: 0, stop: 4, shardCount: 4 }).run(
        (claim) => claims.push(claim),
        AbortSignal.abort(),
      )
      expect(claims).toEqual([])
    })
  })
}

export function identifyGateContract(name: string, make: (world: GateWorld) => IdentifyGate): void {
  describe(`${name} as IdentifyGate`, () => {
    test('lets one shard per key through in 5 s, however fast READY comes', async () => {
      const world = gateWorld(1)
      const applicants = new Applicants(make(world), world.clock)
      for (const shardId of [0, 1, 2]) void applicants.apply(shardId, 100)
      await world.clock.advance(16_000)
      expect(applicants.ids).toEqual([0, 1, 2])
      const [first, second, third] = applicants.granted.map(({ atMs }) => atMs)
      expect(second! - first!).toBeGreaterThanOrEqual(5000)
      expect(third! - second!).toBeGreaterThanOrEqual(5000)
      expect(third! - first!).toBeLessThan(11_500)
    })

    test('lets all keys of a bucket through together, and the next bucket after them', async () => {
      const world = gateWorld(4)
      const applicants = new Applicants(make(world), world.clock)
      for (let shardId = 11; shardId >= 0; shardId--) void applicants.apply(shardId, 100)
      await world.clock.advance(500)
      expect(applicants.ids).toEqual([0, 1, 2, 3])
      await world.clock.advance(6000)
      expect(applicants.ids).toEqual([0, 1, 2, 3, 4, 5, 6, 7])
      await world.clock.advance(6000)
      expect(applicants.ids).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11])
    })

    test('a slow READY holds its own key only', async () => {
      const world = gateWorld(2)
      const applicants = new Applicants(make(world), world.clock)
      void applicants.apply(0, 30_000)
      for (const shardId of [1, 2, 3]) void applicants.apply(shardId, 100)
      await world.clock.advance(15_000)
      expect(applicants.ids).toEqual([0, 1, 3])
      await world.clock.advance(16_000)
      expect(applicants.ids).toEqual([0, 1, 3, 2])
    })

    test('a permit that was never used frees its key at once', async () => {
      const world = gateWorld(1)
      const gate = make(world)
      const acquiring = gate.acquire(0, new AbortController().signal)
      await world.clock.advance(100)
      const permit = await acquiring
      const applicants = new Applicants(gate, world.clock)
      void applicants.apply(1, 100)
      await world.clock.advance(1000)
      expect(applicants.ids).toEqual([])
      permit.release('unused')
      permit.release('unused')
      await world.clock.advance(100)
      expect(applicants.ids).toEqual([1])
    })

    test('a permit given back twice frees its key once', async () => {
      const world = gateWorld(1)
      const applicants = new Applicants(make(world), world.clock)
      for (const shardId of [0, 1, 2]) void applicants.apply(shardId, Number.POSITIVE_INFINITY)
      await world.clock.advance(6000)
      const first = applicants.permits.get(0)!
      first.release('invalid_session')
      await world.clock.advance(100)
      expect(applicants.ids).toEqual([0, 1])
      first.release('closed')
      await world.clock.advance(60_000)
      expect(applicants.ids).toEqual([0, 1])
    })

    test('who stops waiting gets nothing and holds up nobody', async () => {
      const world = gateWorld(1)
      const applicants = new Applicants(make(world), world.clock)
      const leaving = new AbortController()
      void applicants.apply(0, 100)
      const left = applicants.apply(1, 100, leaving.signal)
      void applicants.apply(2, 100)
      await world.clock.advance(1000)
      leaving.abort(new Error('gone'))
      await expect(left).rejects.toThrow('gone')
      await world.clock.advance(5000)
      expect(applicants.ids).toEqual([0, 2])
    })

    test('records each identify, with its reason, before it may be sent', async () => {
      const world = gateWorld(1)
      const applicants = new Applicants(make(world), world.clock)
      void applicants.apply(0, 100)
      await world.clock.advance(1000)
      expect(world.identifyLog.rows).toMatchObject([{ shardId: 0, why: 'first' }])
    })

    test('an identify that cannot be recorded is not permitted', async () => {
      const world = gateWorld(1)
      const gate = make(world)
      const acquiring = gate.acquire(0, new AbortController().signal)
      await world.clock.advance(100)
      const permit = await acquiring
      world.identifyLog.failure = new Error('the store is away')
      await expect(permit.commit('first')).rejects.toThrow('away')
      permit.release('unused')
      const applicants = new Applicants(gate, world.clock)
      void applicants.apply(1, 100)
      await world.clock.advance(10_000)
      expect(applicants.ids).toEqual([])
      world.identifyLog.failure = null
      await world.clock.advance(40_000)
      expect(applicants.ids).toEqual([1])
    })

    test('a permit that was given back cannot be committed', async () => {
      const world = gateWorld(1)
      const acquiring = make(world).acquire(0, new AbortController().signal)
      await world.clock.advance(100)
      const permit = await acquiring
      permit.release('closed')
      await expect(permit.commit('first')).rejects.toThrow()
      expect(world.identifyLog.rows).toEqual([])
    })

    test('stops before the reserve of the day is touched, and goes on after the reset', async () => {
      const world = gateWorld(1, { total: 100, remaining: 6, resetAfterMs: 120_000 })
      const applicants = new Applicants(
        make({ ...world, fetchLimit: () => Promise.reject(new Error('no network')) }),
        world.clock,
      )
      for (let shardId = 0; shardId < 3; shardId++) void applicants.apply(shardId, 100)
      await world.clock.advance(100_000)
      expect(applicants.ids).toEqual([0])
      await world.clock.advance(120_000)
      expect(applicants.ids).toEqual([0, 1, 2])
    })

    test('permits that are not used yet count against the reserve, and no longer once given back', async () => {
      const world = gateWorld(16, { total: 100, remaining: 8, resetAfterMs: 12 * 3600_000 })
      const gate = make(world)
      const permits: IdentifyPermit[] = []
      for (let shardId = 0; shardId < 16; shardId++) {
        void gate
          .acquire(shardId, new AbortController().signal)
          .then((permit) => permits.push(permit))
      }
      await world.clock.advance(1000)
      expect(permits.length).toBe(3)
      permits[0]!.release('unused')
      await permits[1]!.commit('first')
      await world.clock.advance(40_000)
      expect(permits.length).toBe(4)
    })

    test('a permit that waited while other workers used up the day is not used', async () => {
      const world = gateWorld(1, { total: 100, remaining: 100, resetAfterMs: 12 * 3600_000 })
      const acquiring = make(world).acquire(0, new AbortController().signal)
      await world.clock.advance(100)
      const permit = await acquiring
      const atMs = world.clock.now()
      for (let count = 0; count < 95; count++) {
        world.identifyLog.rows.push({ shardId: 9, atMs, worker: 'other', why: 'first' })
      }
      await expect(permit.commit('first')).rejects.toThrow('is not allowed any more')
      expect(world.identifyLog.rows.length).toBe(95)
    })

    test('a permit that an operator has let pass is used whatever happened meanwhile', async () => {
      const world = gateWorld(1, { total: 100, remaining: 5, resetAfterMs: 12 * 3600_000 })
      world.identifyLog.allowance = 1
      const acquiring = make(world).acquire(0, new AbortController().signal)
      await world.clock.advance(100)
      await (await acquiring).commit('first')
      expect(world.identifyLog.rows).toMatchObject([{ shardId: 0 }])
    })

    test('counts the identifies that earlier processes have recorded', async () => {
      const world = gateWorld(1, { total: 100, remaining: 100, resetAfterMs: 12 * 3600_000 })
      const atMs = world.clock.now() - 3600_000
      for (let count = 0; count < 95; count++) {
        world.identifyLog.rows.push({ shardId: 9, atMs, worker: 'earlier', why: 'first' })
      }
      const applicants = new Applicants(make(world), world.clock)
      void applicants.apply(0, 100)
      await world.clock.advance(60_000)
      expect(applicants.ids).toEqual([])
    })

    describe('after a restart', () => {
      const earlier = (world: GateWorld, shardId: number, agoMs: number): void => {
        const atMs = world.clock.now() - agoMs
        world.identifyLog.rows.push({ shardId, atMs, worker: 'earlier', why: 'first' })
      }

      test('a key waits for the rest of the 5 s that an earlier process began, the others do not', async () => {
        const world = gateWorld(2)
        earlier(world, 5, 60_000)
        earlier(world, 2, 3500)
        earlier(world, 4, 1000)
        const applicants = new Applicants(make(world), world.clock)
        for (const shardId of [0, 1]) void applicants.apply(shardId, 100)
        await world.clock.advance(3900)
        expect(applicants.ids).toEqual([1])
        await world.clock.advance(2000)
        expect(applicants.granted).toMatchObject([{ shardId: 1 }, { shardId: 0 }])
        expect(applicants.granted[1]!.atMs).toBeGreaterThanOrEqual(4000)
      })

      test('a wall clock that jumped back holds a key for no longer than its window', async () => {
        const world = gateWorld(1)
        earlier(world, 0, -3600_000)
        const applicants = new Applicants(make(world), world.clock)
        void applicants.apply(0, 100)
        await world.clock.advance(4900)
        expect(applicants.ids).toEqual([])
        await world.clock.advance(1600)
        expect(applicants.ids).toEqual([0])
      })

      test('nothing is permitted until the earlier identifies could be read', async () => {
        const world = gateWorld(1)
        world.identifyLog.failure = new Error('the store is away')
        const applicants = new Applicants(make(world), world.clock)
        void applicants.apply(0, 100)
        await world.clock.advance(10_000)
        expect(applicants.ids).toEqual([])
        earlier(world, 0, 100)
        world.identifyLog.failure = null
        await world.clock.advance(4900)
        expect(applicants.ids).toEqual([])
        await world.clock.advance(4000)
        expect(applicants.ids).toEqual([0])
      })
    })

    test('an identify that an operator has let pass is not held by the breaker, the next one is', async () => {
      const world = gateWorld(1)
      const applicants = new Applicants(make(world), world.clock)
      for (let count = 0; count < 3; count++) {
        void applicants.apply(0, 100)
        await world.clock.advance(10_000)
      }
      world.identifyLog.allowance = 1
      for (let count = 0; count < 2; count++) void applicants.apply(0, 100)
      await world.clock.advance(60_000)
      expect(applicants.ids).toEqual([0, 0, 0, 0])
    })

    test('a fourth identify of one shard in ten minutes stops identifies until the window has passed', async () => {
      const world = gateWorld(1)
      const gate = make(world)
      const applicants = new Applicants(gate, world.clock)
      for (let count = 0; count < 3; count++) {
        void applicants.apply(0, 100)
        await world.clock.advance(10_000)
      }
      void applicants.apply(0, 100)
      await world.clock.advance(60_000)
      expect(applicants.ids).toEqual([0, 0, 0])
      await world.clock.advance(600_000)
      expect(applicants.ids).toEqual([0, 0, 0, 0])
    })
  })
}
