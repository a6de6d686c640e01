/** Flags of `npm run property`, in Go's style as everywhere. */
import { nearest } from '../../../src/base/index.ts'

export interface PropertyFlags {
  /** The first seed; the others follow it. */
  readonly seed: number
  readonly seeds: number
}

export const PROPERTY_HELP = `Usage: npm run property -- [flags]

  -seeds 20   how many worlds
  -seed 1     the first one's seed; the same seed does the same`

/** @throws Error with a sentence for whoever typed it; null: help was asked for. */
export function readPropertyFlags(argv: readonly string[]): PropertyFlags | null {
  const values: Record<string, number> = { seed: 1, seeds: 20 }
  for (let index = 0; index < argv.length; index++) {
    const match = /^--?([a-z]+)(?:=(.*))?$/.exec(argv[index]!)
    const name = match?.[1] ?? ''
    if (name === 'h' || name === 'help') return null
    if (!Object.hasOwn(values, name)) {
      const guess = nearest(name, Object.keys(values))
      const hint = guess === null ? 'see -help' : `did you mean -${guess}?`
      throw new Error(`There is no flag ${argv[index]}; ${hint}`)
    }
    const text = match?.[2] ?? argv[++index] ?? ''
    if (!/^[0-9]{1,9}$/.test(text)) {
      throw new Error(`-${name} is a whole number, not ${text || 'nothing'}.`)
    }
    values[name] = Number(text)
  }
  return { seed: values['seed']!, seeds: values['seeds']! }
}
