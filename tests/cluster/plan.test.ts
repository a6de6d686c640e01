import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { planShards } from '../../src/cluster/index.ts'

const NONE: ReadonlyMap<number, string> = new Map()

function workers(count: number, stop: number): Parameters<typeof planShards>[0]['workers'] {
  return Array.from({ length: count }, (_, index) => ({
    id: `w${index}.a`,
    base: `w${index}`,
    capacity: null,
    start: 0,
    stop,
    isLeaving: false,
  }))
}

function counts(plan: ReadonlyMap<number, string>, ids: readonly string[]): number[] {
  return ids.map((id) => [...plan.values()].filter((owner) => owner === id).length)
}

const fleets = fc
  .record({
    shardCount: fc.integer({ min: 1, max: 60 }),
    workerCount: fc.integer({ min: 1, max: 7 }),
    held: fc.array(fc.integer({ min: 0, max: 9 }), { minLength: 60, maxLength: 60 }),
    last: fc.array(fc.integer({ min: 0, max: 9 }), { minLength: 60, maxLength: 60 }),
  })
  .map(({ shardCount, workerCount, held, last }) => {
    // Owners above the workers' number hold nothing, or are dead.
    const owners = new Map<number, string>()
    const lastOwners = new Map<number, string>()
    for (let shardId = 0; shardId < shardCount; shardId++) {
      if (held[shardId]! < workerCount) owners.set(shardId, `w${held[shardId]}.a`)
      lastOwners.set(shardId, `w${last[shardId]}`)
    }
    return { shardCount, workers: workers(workerCount, shardCount), owners, lastOwners }
  })

describe('planShards', () => {
  test('every shard has one worker, and the workers differ by one at most', () => {
    fc.assert(
      fc.property(fleets, (fleet) => {
        const plan = planShards({ ...fleet, handovers: NONE, moves: NONE })
        expect(plan.size).toBe(fleet.shardCount)
        const loads = counts(
          plan,
          fleet.workers.map(({ id }) => id),
        )
        expect(Math.max(...loads) - Math.min(...loads)).toBeLessThanOrEqual(1)
      }),
    )
  })

  test('moves no more held shards than the balance asks for', () => {
    fc.assert(
      fc.property(fleets, (fleet) => {
        const plan = planShards({ ...fleet, handovers: NONE, moves: NONE })
        const moved = [...fleet.owners].filter(([shardId, owner]) => plan.get(shardId) !== owner)
        // Whoever has more than its share gives the rest away; r workers may have one more than the others.
        const { shardCount, workers: all } = fleet
        const floor = Math.floor(shardCount / all.length)
        const extra = shardCount % all.length
        const held = counts(
          fleet.owners,
          all.map(({ id }) => id),
        ).sort((a, b) => b - a)
        const least = held.reduce(
          (sum, count, rank) => sum + Math.max(0, count - floor - (rank < extra ? 1 : 0)),
          0,
        )
        expect(moved.length).toBe(least)
      }),
    )
  })

  test('is the same whatever the order of the workers, and stable once it is carried out', () => {
    fc.assert(
      fc.property(fleets, (fleet) => {
        const input = { ...fleet, handovers: NONE, moves: NONE }
        const plan = planShards(input)
        const sorted = (map: ReadonlyMap<number, string>): unknown =>
          [...map].sort(([a], [b]) => a - b)
        const reversed = planShards({ ...input, workers: [...fleet.workers].reverse() })
        expect(sorted(reversed)).toEqual(sorted(plan))
        expect(sorted(planShards({ ...input, owners: plan }))).toEqual(sorted(plan))
      }),
    )
  })

  test('holds capacities and ranges whatever is held already', () => {
    fc.assert(
      fc.property(
        fleets,
        fc.array(fc.integer({ min: 1, max: 20 }), { minLength: 7, maxLength: 7 }),
        fc.array(fc.integer({ min: 0, max: 59 }), { minLength: 7, maxLength: 7 }),
        (fleet, capacities, starts) => {
          const limited = fleet.workers.map((worker, index) => ({
            ...worker,
            capacity: capacities[index]!,
            start: Math.min(starts[index]!, fleet.shardCount - 1),
          }))
          const plan = planShards({ ...fleet, workers: limited, handovers: NONE, moves: NONE })
          for (const { id, capacity, start } of limited) {
            const shards = [...plan].filter(([, owner]) => owner === id)
            expect(shards.length).toBeLessThanOrEqual(capacity)
            expect(shards.every(([shardId]) => shardId >= start)).toBe(true)
          }
        },
      ),
    )
  })

  test('a free shard goes to its last owner', () => {
    const lastOwners = new Map([0, 1, 2, 3].map((shardId) => [shardId, `w${(shardId + 1) % 2}`]))
    const input = { shardCount: 4, workers: workers(2, 4), owners: NONE, lastOwners }
    expect(
      [...planShards({ ...input, handovers: NONE, moves: NONE })].sort(([a], [b]) => a - b),
    ).toEqual([
      [0, 'w1.a'],
      [1, 'w0.a'],
      [2, 'w1.a'],
      [3, 'w0.a'],
    ])
  })

  test('a worker that leaves gives everything to the others', () => {
    const [leaving, ...others] = workers(3, 9)
    const owners = new Map([0, 1, 2].map((shardId) => [shardId, 'w0.a']))
    const plan = planShards({
      shardCount: 9,
      workers: [{ ...leaving!, isLeaving: true }, ...others],
      owners,
      lastOwners: NONE,
      handovers: NONE,
      moves: NONE,
    })
    expect(counts(plan, ['w0.a', 'w1.a', 'w2.a'])).toEqual([0, 5, 4])
  })

  test('a shard that an operator has moved stays there, against the balance', () => {
    const owners = new Map([0, 1, 2, 3].map((shardId) => [shardId, `w${shardId % 2}.a`]))
    const moves = new Map([0, 2].map((shardId) => [shardId, 'w1.a']))
    const plan = planShards({
      shardCount: 4,
      workers: workers(2, 4),
      owners,
      lastOwners: NONE,
      handovers: NONE,
      moves,
    })
    expect([plan.get(0), plan.get(2)]).toEqual(['w1.a', 'w1.a'])
    expect(counts(plan, ['w0.a', 'w1.a'])).toEqual([2, 2])
  })
})
