/** Flags that every bench takes, in Go's style: `-json`, `-seconds 1`, `-rounds=11`, `-only decode`. */
export interface BenchFlags {
  /** Measuring time of one contender over all rounds. */
  readonly seconds: number
  readonly rounds: number
  readonly json: boolean
  /** Rows whose name holds this text; '' is all. */
  readonly only: string
}

export const BENCH_FLAGS = {
  json: 'JSON rows and nothing else on stdout, the last one a summary.',
  seconds: 'Measuring time of each contender over all rounds.',
  rounds: 'Turns of each contender; the median over them counts.',
  only: 'Parts of the bench whose name holds this text.',
} as const

/** @throws Error with a sentence for whoever typed it. */
export function readBenchFlags(
  argv: readonly string[],
  defaults: BenchFlags,
  secondsMax = 60,
): BenchFlags {
  let { seconds, rounds, json, only } = defaults
  for (let index = 0; index < argv.length; index++) {
    const match = /^--?([a-z]+)(?:=(.*))?$/.exec(argv[index]!)
    const name = match?.[1]
    if (name === 'json') {
      json = match![2] !== 'false'
      continue
    }
    const value = match?.[2] ?? argv[++index]
    if (name === 'seconds') seconds = numberOf(name, value, 0.05, secondsMax)
    else if (name === 'rounds') rounds = Math.round(numberOf(name, value, 1, 1000))
    else if (name === 'only' && value !== undefined) only = value
    else throw new Error(`There is no flag ${argv[index] ?? '-only without a value'}; see -help.`)
  }
  return { seconds, rounds, json, only }
}

function numberOf(name: string, text: string | undefined, min: number, max: number): number {
  const value = Number(text)
  if (text === undefined || text === '' || !(value >= min && value <= max)) {
    throw new Error(`-${name} is a number from ${min} to ${max}, not ${text ?? 'nothing'}.`)
  }
  return value
}
