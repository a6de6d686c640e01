import { describe, expect, test } from 'vitest'
import { Program } from '../support/program.ts'
import { checkResources, type Sample } from './harness/resources.ts'
import type { Life } from './harness/workers.ts'

const program = new Program('sim/main.ts', ['-version'])
const life: Life = { worker: 1, program, httpUrl: undefined, startedAtMs: 0 }
const MIB = 1024 * 1024

function sample(atMs: number, values: Partial<Sample>): Sample {
  return { atMs, life, descriptors: 30, timers: 10, rssBytes: 100 * MIB, shards: 4, ...values }
}

function check(after: Partial<Sample>, growthMib: number): string[] {
  const samples = Array.from({ length: 300 }, (_, second) =>
    sample(second * 1000, { rssBytes: (100 + (growthMib * second) / 60) * MIB }),
  )
  const before = [sample(0, {})]
  const ended = [sample(300_000, after)]
  return checkResources({ before, after: ended, samples, halfAtMs: 0, endAtMs: 300_000 }).findings
}

describe('checkResources', () => {
  test('takes what more shards need for no leak', () => {
    expect(check({ shards: 8, descriptors: 34, timers: 14 }, 0.5)).toEqual([])
  })

  test('tells of descriptors and timers beyond five', () => {
    expect(check({ descriptors: 36, timers: 16 }, 0)).toHaveLength(2)
  })

  test('tells of memory that grows by more than 1 MiB a minute', () => {
    expect(check({}, 1.5)).toEqual(['memory of worker 1 over 299 s: 1.50 MiB a minute'])
  })
})
