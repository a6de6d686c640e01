import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { readBenchFlags } from '../../bench/flags.ts'
import { Bench, median, timesFaster, underAndNotSlower, withinTimes } from '../../bench/harness.ts'
import { AllocationCount } from '../../bench/allocation-count.ts'
import { makePayloads, POSITIONS } from '../../bench/etf-payloads.ts'
import { Envelope, scanEnvelope } from '../../src/etf/index.ts'

const DEFAULTS = { seconds: 1, rounds: 15, json: false, only: '' }
const program = fileURLToPath(new URL('../../scripts/bench.ts', import.meta.url))

interface Ended {
  readonly status: number | null
  readonly stdout: string
  readonly stderr: string
}

function runBench(...args: string[]): Ended {
  return spawnSync(process.execPath, [program, ...args], { encoding: 'utf8' })
}

describe('flags of a bench', () => {
  test('come in each of the usual forms', () => {
    const flags = readBenchFlags(
      ['-json', '--seconds', '0.5', '-rounds=3', '-only', 'skip'],
      DEFAULTS,
    )
    expect(flags).toEqual({ json: true, seconds: 0.5, rounds: 3, only: 'skip' })
  })

  test.each([['-second', '1'], ['-seconds', 'x'], ['-rounds'], ['etf'], ['-seconds=1000']])(
    '%s %s is refused with a sentence',
    (...argv) => {
      expect(() => readBenchFlags(argv, DEFAULTS)).toThrow(/\.$/)
    },
  )
})

describe('aims', () => {
  test('are met at their limit', () => {
    expect(timesFaster(6).isMet(10, 6)).toBe(true)
    expect(timesFaster(6).isMet(10, 5.99)).toBe(false)
    expect(withinTimes(1.3).isMet(10, 1 / 1.3)).toBe(true)
    expect(withinTimes(1.3).isMet(10, 0.76)).toBe(false)
    expect(underAndNotSlower(100).isMet(100, 2)).toBe(false)
    expect(underAndNotSlower(100).isMet(99, 0.9)).toBe(false)
    expect(underAndNotSlower(100).isMet(99, 1)).toBe(true)
  })

  test('are held against medians', () => {
    expect(median([3, 1, 2])).toBe(2)
    expect(median([4, 1, 2, 3])).toBe(2.5)
    expect(median([])).toBeNaN()
  })
})

describe('the harness', () => {
  const flags = { seconds: 0.05, rounds: 9, json: true, only: '' }
  const work =
    (times: number) =>
    (count: number): number => {
      let sum = 0
      for (let i = 0; i < count * times; i++) sum += Math.sqrt(i)
      return sum
    }

  test('times each contender in each round, and sees which is slower', async () => {
    const timings = await new Bench('test', flags).measure([
      { name: 'quick', check: () => {}, run: work(50) },
      { name: 'slow', check: () => {}, run: work(500) },
    ])
    expect(timings.get('quick')).toHaveLength(flags.rounds)
    expect(median(timings.get('slow')!) / median(timings.get('quick')!)).toBeGreaterThan(2)
  })

  test('leaves out a contender that is wrong, and ends with 1', async () => {
    const bench = new Bench('test', flags)
    const check = (): void => {
      throw new Error('another result')
    }
    const timings = await bench.measure([{ name: 'wrong', check, run: work(1) }])
    expect(timings.size).toBe(0)
    expect(bench.finish()).toBe(1)
  })
})

describe('the counting of allocations', () => {
  test('refuses to count without the means to collect', async () => {
    if (globalThis.gc !== undefined) return
    await expect(AllocationCount.of(() => {}, 1)).rejects.toThrow('--expose-gc')
  })
})

describe('payloads of the codec bench', () => {
  test('are different ones of five kinds, with d where they say', () => {
    const payloads = makePayloads()
    expect(payloads.map(({ name }) => name)).toEqual([
      'TYPING_START',
      'PRESENCE_UPDATE',
      'GUILD_MEMBER_UPDATE',
      'MESSAGE_CREATE',
      'GUILD_CREATE',
    ])
    const envelope = new Envelope()
    for (const { variants } of payloads) {
      expect(new Set(variants.map(({ text }) => text)).size).toBe(variants.length)
      expect(variants.length).toBeGreaterThan(4)
      const starts = POSITIONS.map((position) => {
        const frame = variants[0]!.frames[position]
        expect(scanEnvelope(frame, 0, frame.length, envelope)).toBe(frame.length)
        return envelope.dStart
      })
      expect(starts).toEqual([...new Set(starts)].sort((a, b) => a - b))
    }
  })
})

describe('npm run bench', () => {
  test('names the bench that was meant', () => {
    const { status, stderr } = runBench('eft')
    expect(status).toBe(1)
    expect(stderr).toContain('did you mean etf?')
  })

  test('-help tells names and flags', () => {
    const { status, stdout } = runBench('-help')
    expect(status).toBe(0)
    expect(stdout).toContain('etf, guard, pipeline, ')
    expect(stdout).toContain('-seconds')
  })

  test('-json writes a row for each comparison and a summary, and nothing else', () => {
    const args = 'etf -json -only encode -seconds 0.05 -rounds 2'
    const { status, stdout, stderr } = runBench(...args.split(' '))
    expect(status, stderr).toBe(0)
    const rows = stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>)
    const summary = rows.pop()!
    expect(rows.length).toBeGreaterThan(1)
    for (const row of rows) {
      expect(Object.keys(row).join(' ')).toBe(
        'bench row unit ours rival rival_name ratio spread aim met correct',
      )
      expect(row['correct']).toBe(true)
    }
    const met = rows.filter((row) => row['met']).length
    expect(summary).toEqual({ bench: 'etf', rows: rows.length, met, missed: rows.length - met })
  }, 60_000)
})
