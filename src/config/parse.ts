import { nearest } from '../base/index.ts'
import { ConfigError } from './errors.ts'
import { envName, type Option } from './option.ts'

/** Values as they were typed, by flag; a default is in it unless it is empty. */
export type Values = ReadonlyMap<string, string>

export interface Parsed {
  readonly values: Values
  /** Flags that were given, by command line or environment; not the defaults. */
  readonly given: ReadonlySet<string>
  /** What is no flag, in its order; only if the program takes arguments. */
  readonly arguments: readonly string[]
  /** Secrets that stood on the command line, where everybody on the host can read them. */
  readonly exposed: readonly string[]
  readonly isHelp: boolean
  readonly isVersion: boolean
}

export type Env = Readonly<Record<string, string | undefined>>

/**
 * Reads a command line in Go's style: one or two dashes, `-flag value` or `-flag=value`. Flag, then
 * GATEWAY_<FLAG>, then the option's own variables, then its default; an empty value means not given.
 *
 * @throws ConfigError CONFIG_UNKNOWN_FLAG, CONFIG_MISSING_VALUE, CONFIG_BAD_VALUE
 */
export function parseOptions(
  options: readonly Option[],
  argv: readonly string[],
  env: Env,
  { takesArguments = false }: { readonly takesArguments?: boolean } = {},
): Parsed {
  const byFlag = new Map<string, Option>()
  for (const option of options) {
    for (const name of [option.flag, ...(option.aliases ?? [])]) byFlag.set(name, option)
  }
  const values = new Map<string, string>()
  const given = new Set<string>()
  const exposed = new Set<string>()
  const words: string[] = []
  let isHelp = false
  let isVersion = false
  for (let index = 0; index < argv.length; index++) {
    const argument = argv[index]!
    const match = /^--?([A-Za-z][A-Za-z0-9-]*)(?:=([\s\S]*))?$/.exec(argument)
    if (match === null) {
      if (!takesArguments || argument.startsWith('-')) throw unknown(argument, byFlag)
      words.push(argument)
      continue
    }
    const name = match[1]!
    if (name === 'help' || name === 'h') {
      isHelp = true
      continue
    }
    if (name === 'version') {
      isVersion = true
      continue
    }
    const option = byFlag.get(name)
    if (option === undefined) throw unknown(name, byFlag)
    let value = match[2]
    if (value === undefined) {
      const next = argv[index + 1]
      const isNextFlag = next === undefined || /^--?[A-Za-z]/.test(next)
      if (option.kind === 'switch') {
        value = 'true'
        // Beside arguments -json status would take one.
        if (!isNextFlag && !takesArguments) value = argv[++index]!
      } else if (next === undefined || (isNextFlag && byFlag.has(flagName(next)))) {
        throw new ConfigError(
          'CONFIG_MISSING_VALUE',
          `-${name} needs a value: -${name} ${example(option)}`,
          { flag: name },
        )
      } else {
        value = next
        index++
      }
    }
    if (value !== '') {
      values.set(option.flag, value)
      given.add(option.flag)
      if (option.kind === 'secret' && isConfidential(option.flag, value)) exposed.add(option.flag)
    }
  }
  for (const option of options) {
    if (values.has(option.flag)) continue
    for (const name of [envName(option.flag), ...(option.env ?? [])]) {
      const value = env[name]
      if (value === undefined || value === '') continue
      values.set(option.flag, value)
      given.add(option.flag)
      break
    }
    if (!values.has(option.flag) && option.default !== '') values.set(option.flag, option.default)
  }
  if (!isHelp && !isVersion) for (const option of options) validate(option, values.get(option.flag))
  return { values, given, exposed: [...exposed], arguments: words, isHelp, isVersion }
}

/** A token, or a URL with a password in it. */
function isConfidential(flag: string, value: string): boolean {
  return flag.endsWith('token') || /:[^/@\s]+@/.test(value)
}

/** Whether a switch is on: given, and not `false`, `0` or `no`. */
export function isOn(value: string | undefined): boolean {
  return value !== undefined && !/^(false|0|no|off)$/i.test(value)
}

function validate(option: Option, value: string | undefined): void {
  if (value === undefined) return
  if (option.kind === 'choice' && !option.choices!.includes(value)) {
    const guess = nearest(value, option.choices!)
    throw badValue(
      option,
      value,
      `one of ${option.choices!.join(', ')}${guess === null ? '' : `; did you mean ${guess}`}`,
    )
  }
  if (option.kind === 'integer') {
    const number = Number(value)
    const min = option.min ?? 0
    const max = option.max ?? Number.MAX_SAFE_INTEGER
    if (!/^[0-9]+$/.test(value) || number < min || number > max) {
      const range = option.max === undefined ? `of at least ${min}` : `from ${min} to ${max}`
      throw badValue(option, value, `a whole number ${range}`)
    }
  }
}

/** The error for a value that cannot be used; a secret's value is not repeated. */
export function badValue(
  option: Pick<Option, 'flag' | 'kind'>,
  value: string,
  expected: string,
): ConfigError {
  const shown = option.kind === 'secret' ? '' : ` ${JSON.stringify(value)}`
  return new ConfigError('CONFIG_BAD_VALUE', `-${option.flag}${shown}: expected ${expected}.`, {
    flag: option.flag,
  })
}

function unknown(name: string, byFlag: ReadonlyMap<string, Option>): ConfigError {
  if (!/^[A-Za-z][A-Za-z0-9-]*$/.test(name)) {
    return new ConfigError(
      'CONFIG_UNKNOWN_FLAG',
      // Not repeated: it may be the second word of a token that was given without quotes.
      'An argument is not a flag and belongs to none. Flags are written -flag value, a value with a space in quotes; -help lists them.',
    )
  }
  const guess = nearest(name, byFlag.keys())
  return new ConfigError(
    'CONFIG_UNKNOWN_FLAG',
    `-${name} is not a flag of this program${guess === null ? '' : `; did you mean -${guess}`}. -help lists them all.`,
    { flag: name },
  )
}

function flagName(argument: string): string {
  return argument.replace(/^--?/, '').split('=')[0]!
}

function example(option: Option): string {
  if (option.choices !== undefined) return option.choices[0]!
  return option.kind === 'integer' ? '<number>' : '<value>'
}
