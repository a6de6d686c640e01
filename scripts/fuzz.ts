import { readFileSync } from 'node:fs'
import { countBranches } from '../bench/fuzz/branch-counters.ts'
import { messageOf } from '../src/base/index.ts'

/** Fuzzes the codec, guided by the branches that inputs take. Exit 1 when a promise was broken. */

const HELP = `Usage: npm run fuzz -- [flags]

  -seconds 60       how long
  -seed n           the same seed does the same; random, and printed, without it
  -executions n     ends after so many, if that is sooner
  -replay file      runs one input, as a finding was written down, and nothing else`

const REPORT_MS = 10_000
const REPLAYS = 1000

try {
  process.exitCode = await main(process.argv.slice(2))
} catch (error) {
  console.error(messageOf(error))
  process.exitCode = 1
}

async function main(argv: readonly string[]): Promise<number> {
  let seconds = 60
  let seed = Math.floor(Math.random() * 2 ** 32)
  let executions = Number.POSITIVE_INFINITY
  let replay: string | null = null
  for (let index = 0; index < argv.length; index++) {
    const match = /^--?([a-z]+)(?:=(.*))?$/.exec(argv[index]!)
    const name = match?.[1] ?? ''
    if (name === 'h' || name === 'help') {
      console.log(HELP)
      return 0
    }
    if (!['seconds', 'seed', 'executions', 'replay'].includes(name)) {
      throw new Error(`There is no flag ${argv[index]}; see -help.`)
    }
    const value = match?.[2] ?? argv[++index] ?? ''
    if (name === 'replay') {
      replay = value
      continue
    }
    if (!/^\d+(\.\d+)?$/.test(value)) throw new Error(`-${name} is a number, not ${value}`)
    if (name === 'seconds') seconds = Number(value)
    if (name === 'seed') seed = Number(value) >>> 0
    if (name === 'executions') executions = Number(value)
  }
  // Types are stripped by what Node itself loads TypeScript with; it warns when it is called by name.
  process.removeAllListeners('warning')
  countBranches()
  const { Fuzzer } = await import('../bench/fuzz/fuzzer.ts')
  const fuzzer = new Fuzzer(seed)
  if (replay !== null) {
    const input = readFileSync(replay)
    for (let i = 0; i < REPLAYS; i++) fuzzer.execute(input)
    return report(fuzzer.status)
  }
  console.log(`seed ${seed}`)
  for (let left = seconds * 1000; left > 0; left -= REPORT_MS) {
    const before = fuzzer.status
    fuzzer.run(Math.min(left, REPORT_MS), executions)
    const { status } = fuzzer
    console.log(line(status))
    if (status.executions === before.executions || status.executions >= executions) break
  }
  return report(fuzzer.status)
}

interface Status {
  readonly executions: number
  readonly seconds: number
  readonly corpus: number
  readonly branches: { readonly reached: number; readonly all: number }
  readonly findings: readonly { readonly message: string; readonly file: string }[]
}

function line(status: Status): string {
  const { executions, seconds, corpus, branches, findings } = status
  const rate = Math.round(executions / Math.max(seconds, 0.001))
  return `${seconds.toFixed(0)} s: ${executions} executions (${rate}/s), corpus ${corpus}, branches ${branches.reached} of ${branches.all}, findings ${findings.length}`
}

function report({ findings }: Status): number {
  for (const { message, file } of findings) console.log(`${message}\n  ${file}`)
  console.log(findings.length === 0 ? 'no promise was broken' : `${findings.length} findings`)
  return findings.length === 0 ? 0 : 1
}
