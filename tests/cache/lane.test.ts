/** A lane by itself, on a database that commits everything, or nothing. */
import { describe, expect, it } from 'vitest'
import { type Log, memoryCounters, seededRandom, silentLog } from '../../src/base/index.ts'
import type { Connection, Transaction } from '../../src/cache/database.ts'
import { EVERY_KIND } from '../../src/cache/event-kinds.ts'
import { Lane, type LaneDeps } from '../../src/cache/lane.ts'
import { FakeClock } from '../support/fake-clock.ts'

const FENCE = { epoch: 1, revision: 1 }
const STORED = { shard: 0, epoch: '1', revision: '1' }

interface LaneWorld {
  readonly lane: Lane
  readonly clock: FakeClock
  readonly errors: unknown[][]
  /** Tickets that are settled. */
  readonly settled: number[]
  /** Puts an event into the open batch. */
  readonly add: () => number
}

/** Commits everything. @param stored what it says of the shards' fences */
function database(stored: readonly object[]): Connection {
  const tx: Transaction = {
    change: () => Promise.resolve(0),
    query: <Row>(text: string) =>
      Promise.resolve((text.includes('fence_epoch as epoch') ? stored : []) as Row[]),
  }
  return { ...tx, transaction: (work) => work(tx), close: () => Promise.resolve() }
}

/** @param stored what the database says of the shards' fences */
function laneWorld(
  overrides: Partial<LaneDeps> = {},
  stored: readonly object[] = [STORED],
): LaneWorld {
  const clock = new FakeClock()
  const errors: unknown[][] = []
  const settled: number[] = []
  const log: Log = { ...silentLog, error: (...entry) => errors.push(entry) }
  const lane = new Lane({
    clock,
    random: seededRandom(1),
    log,
    counters: memoryCounters(),
    connect: () => Promise.resolve(database(stored)),
    fleetName: 'test',
    kept: EVERY_KIND,
    rowsPerStatementMax: 1000,
    limits: { rowsMax: 1000, bytesMax: 1_000_000 },
    onAway: () => undefined,
    onLost: () => undefined,
    onPoison: () => undefined,
    ...overrides,
    onSettled(ticket) {
      settled.push(ticket)
      overrides.onSettled?.(ticket)
    },
  })
  return {
    lane,
    clock,
    errors,
    settled,
    add() {
      const batch = lane.take(0, FENCE)
      batch.note(0, FENCE, 'session', 1)
      lane.admit(1)
      lane.added()
      return batch.ticket
    },
  }
}

const fail = (): never => {
  throw new Error('a listener failed')
}

describe('a lane', () => {
  it.each([
    ['onSettled', { onSettled: fail }, [STORED]],
    ['onLost', { onLost: fail }, [{ ...STORED, revision: '2' }]],
  ] as const)('goes on when %s throws, and says so', async (callback, overrides, stored) => {
    const { lane, clock, errors, settled, add } = laneWorld(overrides, stored)
    const first = add()
    const flushed = lane.flush()
    await clock.advance(100)
    await flushed
    const second = add()
    await clock.advance(100)
    expect(settled).toEqual([first, second])
    expect(errors).toHaveLength(2)
    expect(errors[0]).toMatchObject([
      'listener of the cache failed',
      { callback, error: expect.stringContaining('a listener failed') as string },
    ])
    await lane.stop()
  })

  it('goes on when nobody can be told that the database is away, or back', async () => {
    let isThere = false
    const { lane, clock, errors, settled, add } = laneWorld({
      onAway: fail,
      connect: async () => {
        if (!isThere) throw new Error('nobody there')
        return database([STORED])
      },
    })
    const first = add()
    await clock.advance(3000)
    expect(errors).toMatchObject([['listener of the cache failed', { callback: 'onAway' }]])
    isThere = true
    await clock.advance(6000)
    expect(settled).toEqual([first])
    expect(errors).toHaveLength(2)
    const second = add()
    await clock.advance(100)
    expect(settled).toEqual([first, second])
    await lane.stop()
  })
})
