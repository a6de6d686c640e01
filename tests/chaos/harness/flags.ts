/** Flags of `npm run chaos`, in Go's style as everywhere: `-seed 7`, `-minutes=0.5`. */
import { nearest } from '../../../src/base/index.ts'

export const PROFILES = ['durable', 'default-redis'] as const
export type Profile = (typeof PROFILES)[number]

export interface ChaosFlags {
  readonly seed: number
  /** Of traffic and faults; start, settling and checks come on top. */
  readonly minutes: number
  readonly workers: number
  readonly shards: number
  /** `default-redis`: Redis as it comes, which forgets what it has not written when it is killed. */
  readonly profile: Profile
  /** Changes of the world per second. */
  readonly rate: number
  /** Kinds of faults that may come; empty: all. */
  readonly only: readonly string[]
}

export const CHAOS_HELP = `Usage: npm run chaos -- [flags]

  -seed n           the same seed makes the same schedule; random, and printed, without it
  -minutes 1        of traffic and faults; fractions are taken, the whole ends within 2 minutes more
  -workers 3        gateway processes at the start; 1 runs without etcd
  -shards 8         shards of the bot
  -profile durable  durable, or default-redis: Redis without an append-only file loses what it loses
  -rate 120         changes of the world per second
  -only kill,stop   faults of these kinds alone`

/** @throws Error with a sentence for whoever typed it; null: help was asked for. */
export function readChaosFlags(argv: readonly string[], randomSeed: number): ChaosFlags | null {
  const values = new Map<string, string>()
  const known = ['seed', 'minutes', 'workers', 'shards', 'profile', 'rate', 'only']
  for (let index = 0; index < argv.length; index++) {
    const match = /^--?([a-z]+)(?:=(.*))?$/.exec(argv[index]!)
    const name = match?.[1] ?? ''
    if (name === 'h' || name === 'help') return null
    if (!known.includes(name)) {
      const guess = nearest(name, known)
      const hint = guess === null ? 'see -help' : `did you mean -${guess}?`
      throw new Error(`There is no flag ${argv[index]}; ${hint}`)
    }
    values.set(name, match?.[2] ?? argv[++index] ?? '')
  }
  const profile = values.get('profile') ?? 'durable'
  if (!(PROFILES as readonly string[]).includes(profile)) {
    throw new Error(`-profile is ${PROFILES.join(' or ')}, not ${profile}.`)
  }
  const number = (name: string, initial: number, min: number, max: number): number => {
    const text = values.get(name)
    if (text === undefined) return initial
    const value = Number(text)
    if (text === '' || !(value >= min && value <= max)) {
      throw new Error(`-${name} is a number from ${min} to ${max}, not ${text || 'nothing'}.`)
    }
    return value
  }
  return {
    seed: Math.floor(number('seed', randomSeed, 0, 2 ** 32 - 1)),
    minutes: number('minutes', 1, 0.1, 60),
    workers: Math.floor(number('workers', 3, 1, 8)),
    shards: Math.floor(number('shards', 8, 1, 64)),
    profile: profile as Profile,
    rate: Math.floor(number('rate', 120, 1, 2000)),
    only: (values.get('only') ?? '').split(',').filter((kind) => kind !== ''),
  }
}
