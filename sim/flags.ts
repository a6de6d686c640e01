/** Flags in Go's style (`-rate 200`, `--rate=200`, `-tls`), read and explained from the table of options. */
import { nearest } from '../src/base/index.ts'
import { ALL_INTENTS, INTENTS } from '../src/discord/index.ts'
import { SimError } from './errors.ts'
import { durationMs, FAULTS } from './faults.ts'
import { LIBERTIES, OPTIONS } from './options.ts'
import type { OptionRow, SimOptions } from './options.ts'

/** @returns the options that were given, or null when help was asked for. @throws SimError SIM_BAD_OPTION */
export function readFlags(argv: readonly string[]): Partial<SimOptions> | null {
  const given: Record<string, unknown> = {}
  for (let index = 0; index < argv.length; index++) {
    const match = /^--?([^=]+)(?:=(.*))?$/s.exec(argv[index]!)
    if (match === null) throw bad(`${argv[index]} is not a flag`)
    const [, name = '', inline] = match
    if (name === 'h' || name === 'help') return null
    const row = OPTIONS.find((option) => option.flag === name)
    if (row === undefined) throw unknownFlag(name)
    let value = inline
    if (value === undefined && row.kind !== 'switch') value = argv[++index]
    if (value === undefined && row.kind !== 'switch') throw bad(`-${name} needs a value`)
    const read = readValue(row, value ?? 'true')
    const isRepeatable = row.kind === 'list' && row.choices === undefined
    given[row.name] = isRepeatable
      ? [...((given[row.name] as unknown[] | undefined) ?? []), read]
      : read
  }
  return given as Partial<SimOptions>
}

/** The whole of `-help`. */
export function helpText(): string {
  const lines = [
    'gateway-sim is a Discord of your own: REST and gateway over a world that changes by itself.',
    '',
    'Usage: gateway-sim [flags]',
    '',
  ]
  for (const row of OPTIONS) {
    const value = row.kind === 'switch' ? '' : ` ${row.choices?.join('|') ?? row.kind}`
    lines.push(`  -${row.flag}${value}`, `      ${row.sentence}${shownDefault(row)}`)
  }
  lines.push('', 'Liberties (-liberties a,b):')
  for (const [name, sentence] of Object.entries(LIBERTIES)) lines.push(`  ${name}: ${sentence}`)
  lines.push('', 'Faults (-fault kind,after=5s,shard=1, or POST /control/fault {"kind": …}):')
  for (const [name, sentence] of Object.entries(FAULTS)) lines.push(`  ${name}: ${sentence}`)
  lines.push(
    '',
    'Control, under the printed URL: GET /control/stats, /ledger?shard=&after=&bytes=1 (NDJSON), /gaps, /ends,',
    '/identifies, /resumes, /closes, /sessions, /world, /faults; POST /control/fault, /pause, /resume,',
    '/rate?rate=, /step?count=.',
  )
  return `${lines.join('\n')}\n`
}

function shownDefault(row: OptionRow): string {
  if (row.kind === 'switch' || row.initial === '') return ''
  if (row.kind === 'intents') return ' Default all.'
  const shown = Array.isArray(row.initial) ? row.initial.join(',') : String(row.initial)
  return shown === '' ? '' : ` Default ${shown}${row.kind === 'duration' ? ' ms' : ''}.`
}

function readValue(row: OptionRow, text: string): unknown {
  switch (row.kind) {
    case 'switch':
      if (text === 'true' || text === 'false') return text === 'true'
      throw bad(`-${row.flag} is true or false, not ${text}`)
    case 'text':
      return text
    case 'integer':
      return integerOf(row, text)
    case 'duration':
      return durationMs(text)
    case 'intents':
      return intentsOf(row, text)
    case 'choice':
      return choiceOf(row, text)
    case 'list':
      if (row.choices === undefined) return text
      return text === '' ? [] : text.split(',').map((name) => choiceOf(row, name.trim()))
  }
}

function integerOf(row: OptionRow, text: string): number {
  const value = Number(text)
  const { min = 0, max = Number.MAX_SAFE_INTEGER } = row
  if (!/^\d+$/.test(text) || value < min || value > max) {
    throw bad(`-${row.flag} is a whole number from ${min} to ${max}, not ${text}`)
  }
  return value
}

function intentsOf(row: OptionRow, text: string): number {
  if (text === 'all') return ALL_INTENTS
  if (/^\d+$/.test(text)) return integerOf(row, text)
  let bits = 0
  for (const name of text.split(',')) {
    if (!Object.hasOwn(INTENTS, name)) {
      const guess = nearest(name, Object.keys(INTENTS))
      throw bad(`${name} is no intent${guess === null ? '' : `; did you mean ${guess}?`}`)
    }
    bits |= INTENTS[name as keyof typeof INTENTS]
  }
  return bits
}

function choiceOf(row: OptionRow, text: string): string | number {
  const found = row.choices?.find((choice) => String(choice) === text)
  if (found !== undefined) return found
  const names = (row.choices ?? []).map(String)
  const guess = nearest(text, names)
  throw bad(
    `-${row.flag} does not know ${text}${guess === null ? `; it takes ${names.join(', ')}` : `; did you mean ${guess}?`}`,
  )
}

function unknownFlag(name: string): SimError {
  const guess = nearest(
    name,
    OPTIONS.map((option) => option.flag),
  )
  const hint = guess === null ? 'see -help' : `did you mean -${guess}?`
  return bad(`there is no flag -${name}; ${hint}`)
}

function bad(why: string): SimError {
  return new SimError('SIM_BAD_OPTION', `The simulator cannot start: ${why}`)
}
