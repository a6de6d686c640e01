/**
 * Has the data path become slower? Ratios to a rival in the same run, against those stored in guard.json, since
 * absolute times are those of one machine on one day. Fails when a median loses more than 40 %; `-write` stores.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { median, type Aim } from './harness.ts'
import { readPipelineFlags, type Scenario } from './pipeline/flags.ts'
import { runSlice } from './pipeline/slice.ts'
import { Stage } from './pipeline/stage.ts'
import { Report } from './report.ts'

/** Interleaved pairs of each comparison. */
const PAIRS = 7
const SECONDS_PER_TURN = 2
/** Repeats of the whole differ by up to 30 %. */
const LOSS_MAX = 0.4
const SCENARIOS: readonly Scenario[] = ['peak']
const FILE = join(process.cwd(), 'bench/guard.json')

const argv = process.argv.slice(2)
const isWriting = argv.includes('-write')
const rest = argv.filter((word) => word !== '-write')
const seconds = ['-seconds', String(SECONDS_PER_TURN * PAIRS), '-rounds', String(PAIRS)]
const report = new Report('guard', readPipelineFlags([...seconds, ...rest]).bench)
const stored = JSON.parse(readFileSync(FILE, 'utf8')) as Record<string, number>
const measured: Record<string, number> = {}
let hasLost = false
for (const scenario of SCENARIOS) {
  try {
    await guard(scenario)
  } catch (error) {
    report.problem(scenario, error)
  }
}
if (isWriting) writeFileSync(FILE, `${JSON.stringify({ ...stored, ...measured }, null, 2)}\n`)
const code = report.finish()
process.exitCode = hasLost && !isWriting ? 1 : code

/** CPU per event, the gateway against `ws` that drops the same frames. */
async function guard(scenario: Scenario): Promise<void> {
  const flags = readPipelineFlags([...seconds, ...rest, '-scenario', scenario])
  const stage = await Stage.open(flags, 'mixed', ['gateway', 'floor'])
  try {
    const ours = await stage.contender('gateway')
    const floor = await stage.contender('floor')
    const micros: { readonly gateway: number[]; readonly floor: number[] } = {
      gateway: [],
      floor: [],
    }
    let isComplete = true
    const { rounds } = flags.bench
    for (let round = 0; round < rounds; round++) {
      for (const contender of round % 2 === 0 ? [ours, floor] : [floor, ours]) {
        const slice = await runSlice(stage, contender, flags.rate, flags.bench.seconds / rounds)
        micros[contender.group === 'floor' ? 'floor' : 'gateway'].push(slice.microsPerEvent)
        isComplete &&= slice.isComplete
      }
    }
    const ratios = micros.gateway.map((value, index) => micros.floor[index]! / value)
    const ratio = median(ratios)
    const name = `pipeline ${scenario}`
    measured[name] = Number(ratio.toPrecision(3))
    const aim = keeps(stored[name] ?? 0)
    const met = aim.isMet(0, ratio)
    hasLost ||= !met
    report.add({
      row: `${name}: CPU per event`,
      unit: 'µs',
      ours: median(micros.gateway),
      rival: median(micros.floor),
      rival_name: 'ws, frames dropped',
      ratio,
      spread: [Math.min(...ratios), Math.max(...ratios)],
      aim: aim.text,
      met,
      correct: isComplete,
    })
  } finally {
    await stage.close()
  }
}

function keeps(ratio: number): Aim {
  const least = ratio * (1 - LOSS_MAX)
  return { text: `ratio >= ${least.toPrecision(3)}`, isMet: (_, value) => value >= least }
}
