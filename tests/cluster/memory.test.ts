import { expect, test } from 'vitest'
import { memoryCounters, silentLog } from '../../src/base/index.ts'
import { IdentifyBudget, MemoryClaims, MemoryIdentifyGate } from '../../src/cluster/index.ts'
import { Applicants, claimsContract, gateWorld, identifyGateContract } from './contract.ts'
import type { GateWorld } from './contract.ts'

function memoryGate(world: GateWorld, counters = memoryCounters()): MemoryIdentifyGate {
  const { clock, identifyLog, limit, fetchLimit, maxConcurrency } = world
  const budget = new IdentifyBudget({
    log: identifyLog,
    fetchLimit,
    limit,
    clock,
    logger: silentLog,
  })
  return new MemoryIdentifyGate({
    maxConcurrency,
    budget,
    identifyLog,
    worker: 'test',
    clock,
    log: silentLog,
    counters,
  })
}

claimsContract('MemoryClaims', (world) => new MemoryClaims({ epoch: 1, ...world }))
identifyGateContract('MemoryIdentifyGate', (world) => memoryGate(world))

test.each([
  [4, 4, 8],
  [5, 4, 8],
  [0, 9, 8],
  [-1, 4, 8],
  [0, Number.NaN, 8],
])('a range of %d to %d of %d shards is refused by name', (start, stop, shardCount) => {
  const holds = (): Promise<boolean> => Promise.resolve(true)
  expect(() => new MemoryClaims({ epoch: 1, start, stop, shardCount, holds })).toThrow(
    'CLUSTER_RANGE_INVALID',
  )
})

test('a stopped gate is seen in its metrics, and an operator can let identifies pass', async () => {
  const world = gateWorld(1, { total: 100, remaining: 5 })
  const counters = memoryCounters()
  const gate = memoryGate(world, counters)
  const applicants = new Applicants(gate, world.clock)
  for (const shardId of [0, 1]) void applicants.apply(shardId, 100)
  await world.clock.advance(20_000)
  expect(applicants.ids).toEqual([])
  expect(counters.read('gateway_identifies_stopped')).toBe(1)
  expect(counters.read('gateway_identify_stops_total', { cause: 'budget' })).toBe(1)
  expect(counters.read('gateway_identifies_waiting')).toBe(2)
  world.identifyLog.allowance = 1
  gate.lookAgain()
  await world.clock.advance(20_000)
  expect(applicants.ids).toEqual([0])
})

test('a gate is no longer stopped when nobody waits at it any more', async () => {
  const world = gateWorld(1, { total: 100, remaining: 5 })
  const gate = memoryGate(world)
  const leaving = new AbortController()
  const left = new Applicants(gate, world.clock).apply(0, 100, leaving.signal)
  await world.clock.advance(1000)
  expect(gate.report()).toEqual({ waiting: 1, stoppedBy: 'budget' })
  leaving.abort(new Error('gone'))
  await expect(left).rejects.toThrow('gone')
  expect(gate.report()).toEqual({ waiting: 0, stoppedBy: '' })
})

test('asks Discord again for the limit instead of trusting an old answer', async () => {
  const world = gateWorld(1)
  let asked = 0
  const gate = memoryGate({
    ...world,
    fetchLimit: () => {
      asked++
      return Promise.resolve({ ...world.limit, remaining: 10 })
    },
  })
  await world.clock.advance(120_000)
  const applicants = new Applicants(gate, world.clock)
  void applicants.apply(0, 100)
  await world.clock.advance(1000)
  expect(asked).toBe(1)
  expect(applicants.ids).toEqual([])
})
