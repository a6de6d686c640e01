import { randomInt } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { type ChaosFlags, readChaosFlags } from './harness/flags.ts'
import { runChaos } from './harness/run.ts'

/** Both together 60 s, of which each has about 12 s for start, settling and checks. */
const MINUTES = 0.28
const RUN_MS_MAX = 150_000
/** One that every run repeats, and one that none has had. A failure is repeated by the command that is printed. */
const SEEDS = [5, randomInt(2 ** 32)]

describe('a fleet through kills, stops, outages and faults of Discord loses nothing and identifies for nothing', () => {
  test.each(SEEDS)('on the schedule of seed %i', { timeout: RUN_MS_MAX }, run)
})

async function run(seed: number): Promise<void> {
  const argv = [`-seed=${seed}`, `-minutes=${MINUTES}`, '-workers=3', '-shards=8']
  const lines: string[] = []
  console.log(`npm run chaos -- ${argv.join(' ').replaceAll('=', ' ')}`)
  const flags = readChaosFlags(argv, seed) as ChaosFlags
  const verdict = await runChaos(flags, (line) => lines.push(line))
  expect(verdict.isPassed, [...lines, verdict.text].join('\n')).toBe(true)
}
