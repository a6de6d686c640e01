/** Flags of `npm run bench -- pipeline`. */
import { type BenchFlags, readBenchFlags } from '../flags.ts'
import type { Compression } from './frames.ts'

export const SCENARIOS = [
  'quiet',
  'peak',
  'saturated',
  'few',
  'presence',
  'messages',
  'storm',
  'reconnect',
  'stall',
  'soak',
  'workers',
] as const
export type Scenario = (typeof SCENARIOS)[number]

export interface PipelineFlags {
  readonly bench: BenchFlags
  readonly scenario: Scenario
  readonly shards: number
  /** Events a second over all shards; null: as many as the sockets take. */
  readonly rate: number | null
  readonly tls: boolean
  readonly compression: Compression
  readonly cache: boolean
  /** Without rivals: for profiles. */
  readonly alone: boolean
  /** Arguments of Node for the gateway: `--cpu-prof`. */
  readonly nodeArgs: readonly string[]
}

const RATES: Readonly<Record<Scenario, number | null>> = {
  quiet: 2000,
  peak: 20_000,
  saturated: null,
  few: null,
  presence: 20_000,
  messages: 20_000,
  storm: 0,
  reconnect: 5000,
  stall: 2000,
  soak: 2000,
  workers: 20_000,
}
const SHARDS: Readonly<Partial<Record<Scenario, number>>> = { few: 16, storm: 16 }
const SECONDS: Readonly<Partial<Record<Scenario, number>>> = { soak: 1200, stall: 10, workers: 18 }
/** In `workers` all shards connect anew in each round. */
const ROUNDS: Readonly<Partial<Record<Scenario, number>>> = { soak: 1, stall: 1, workers: 3 }
/** The soak's hour. */
const SECONDS_MAX = 3600
const OWN = [
  'scenario',
  'shards',
  'rate',
  'tls',
  'compress',
  'cache',
  'destination',
  'alone',
  'node',
]

/** @throws Error with a sentence for whoever typed it. */
export function readPipelineFlags(argv: readonly string[]): PipelineFlags {
  const own = new Map<string, string>()
  const rest: string[] = []
  for (let index = 0; index < argv.length; index++) {
    const match = /^--?([a-z]+)(?:=(.*))?$/.exec(argv[index]!)
    const name = match?.[1] ?? ''
    if (!OWN.includes(name)) {
      rest.push(argv[index]!)
      continue
    }
    const isSwitch = name === 'tls' || name === 'cache' || name === 'alone'
    own.set(name, match?.[2] ?? (isSwitch ? 'true' : (argv[++index] ?? '')))
  }
  const scenario = (own.get('scenario') ?? 'peak') as Scenario
  if (!SCENARIOS.includes(scenario)) throw new Error(`-scenario is one of ${SCENARIOS.join(', ')}.`)
  const compress = own.get('compress') ?? 'zlib'
  if (compress !== 'zlib' && compress !== 'zstd') throw new Error('-compress is zlib or zstd.')
  if ((own.get('destination') ?? 'redis') !== 'redis') throw new Error('-destination is redis.')
  return {
    bench: readBenchFlags(
      rest,
      {
        seconds: SECONDS[scenario] ?? 30,
        rounds: ROUNDS[scenario] ?? 5,
        json: false,
        only: '',
      },
      SECONDS_MAX,
    ),
    scenario,
    shards: whole('shards', own.get('shards'), SHARDS[scenario] ?? 720),
    rate: own.has('rate') ? whole('rate', own.get('rate'), 0) : RATES[scenario],
    tls: own.get('tls') !== 'false',
    compression: compress,
    cache: own.get('cache') === 'true' || scenario === 'storm',
    alone: own.get('alone') === 'true',
    nodeArgs: (own.get('node') ?? '').split(' ').filter((word) => word !== ''),
  }
}

function whole(name: string, text: string | undefined, fallback: number): number {
  const value = text === undefined ? fallback : Number(text)
  if (!Number.isInteger(value) || value < 0 || value > 1_000_000) {
    throw new Error(`-${name} is a whole number, not ${text ?? ''}.`)
  }
  return value
}
