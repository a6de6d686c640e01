import { describe, expect, test } from 'vitest'
import { planFaults, type ScheduleOptions } from './harness/schedule.ts'

const OPTIONS: ScheduleOptions = {
  seed: 1,
  durationMs: 9 * 60_000,
  workers: 3,
  shards: 8,
  hasEtcd: true,
  only: [],
}

describe('planFaults', () => {
  test('makes the same schedule of the same seed, and another of another', () => {
    expect(planFaults(OPTIONS)).toEqual(planFaults(OPTIONS))
    expect(planFaults({ ...OPTIONS, seed: 2 })).not.toEqual(planFaults(OPTIONS))
  })

  test('has every kind of fault within 9 minutes', () => {
    const kinds = new Set(planFaults(OPTIONS).map(({ kind }) => kind))
    expect([...kinds].sort()).toEqual([
      'add',
      'cut-etcd',
      'discord',
      'freeze',
      'freeze-in-transaction',
      'kill',
      'kill-etcd',
      'kill-postgres',
      'kill-redis',
      'mute-etcd',
      'remove',
      'restore-etcd',
      'stop',
    ])
  })

  test('freezes for longer than two TTLs', () => {
    const frozen = planFaults(OPTIONS).filter(({ kind }) => kind.startsWith('freeze'))
    expect(Math.min(...frozen.map(({ durationMs }) => durationMs))).toBeGreaterThan(6000)
  })

  test('never has two faults on one worker at a time, nor one on a worker that is gone', () => {
    for (let seed = 0; seed < 50; seed++) {
      const busyUntil = new Map<number, number>()
      const gone = new Set<number>()
      for (const { worker, atMs, durationMs, kind } of planFaults({ ...OPTIONS, seed })) {
        if (worker === 0) continue
        expect(atMs).toBeGreaterThanOrEqual(busyUntil.get(worker) ?? 0)
        expect(gone.has(worker)).toBe(false)
        busyUntil.set(worker, atMs + durationMs)
        if (kind === 'remove') gone.add(worker)
      }
    }
  })

  test('without etcd has no fault that needs it', () => {
    const plan = planFaults({ ...OPTIONS, workers: 1, hasEtcd: false })
    const kinds = plan.map(({ kind }) => kind)
    expect(kinds.filter((kind) => /etcd|add|remove/.test(kind))).toEqual([])
  })
})
