import { messageOf, nearest, Secret, systemClock } from '../../src/base/index.ts'
import {
  ConfigError,
  GATEWAYCTL_OPTIONS,
  isOn,
  parseOptions,
  renderHelp,
  type Values,
} from '../../src/config/index.ts'
import { programVersion } from '../program.ts'
import { CallError, FleetClient, type TailFilter } from './client.ts'
import { COMMANDS, type Command } from './commands.ts'
import type { Output } from './tail.ts'

const SUMMARY = 'shows and steers a fleet of gateways, through any of its workers'

/** What a script may rely on. */
const EXIT = { refused: 1, usage: 2, unanswered: 3, open: 4 } as const

export interface Outcome {
  readonly exitCode: number
  readonly stdout: string
  readonly stderr: string
}

type Env = Readonly<Record<string, string | undefined>>

/** One command, then the end; sets the exit code. */
export async function main(argv: readonly string[], env: Env): Promise<void> {
  const { exitCode, stdout, stderr } = await execute(argv, env)
  process.stdout.write(stdout)
  process.stderr.write(stderr)
  process.exitCode = exitCode
}

export async function execute(
  argv: readonly string[],
  env: Env,
  output: () => Output = standardOutput,
): Promise<Outcome> {
  let client: FleetClient | null = null
  try {
    const parsed = parseOptions(GATEWAYCTL_OPTIONS, argv, env, { takesArguments: true })
    const { values, isHelp, isVersion } = parsed
    if (isVersion) return printed(`gatewayctl ${programVersion()}\n`)
    if (isHelp) return printed(helpText())
    const { command, args } = commandOf(parsed.arguments)
    const adminToken = values.get('admin-token')
    const addresses = listOf(values.get('addr'))
    client = new FleetClient({
      addresses,
      adminToken: adminToken === undefined ? null : new Secret(adminToken),
      clock: systemClock,
    })
    const allow = values.get('allow')
    const count = values.get('count')
    const result = await command.run({
      client,
      addresses,
      args,
      filter: filterOf(values),
      eventsMax: count === undefined ? null : Number(count),
      output,
      allow: allow === undefined ? null : Number(allow),
      waitMs: Number(values.get('timeout')) * 1000,
      clock: systemClock,
    })
    const { warning } = result
    const stderr = warning === undefined ? '' : `gatewayctl: ${warning}\n`
    if (result.json === null) return { exitCode: 0, stdout: '', stderr }
    const text = isOn(values.get('json')) ? JSON.stringify(result.json) : result.text
    return printed(`${text}\n`, result.isOpen === true ? EXIT.open : 0)
  } catch (error) {
    const isOurs = error instanceof ConfigError || error instanceof CallError
    if (!isOurs) throw error
    let exitCode: number = EXIT.usage
    if (error instanceof CallError) exitCode = error.isUnanswered ? EXIT.unanswered : EXIT.refused
    return { exitCode, stdout: '', stderr: `gatewayctl: ${messageOf(error)}\n` }
  } finally {
    client?.close()
  }
}

/** Until Ctrl-C, or until nobody reads any more (`gatewayctl tail | head`). */
function standardOutput(): Output {
  const end = new AbortController()
  const abort = (): void => end.abort()
  process.once('SIGINT', abort)
  process.once('SIGTERM', abort)
  process.stdout.once('error', abort)
  return {
    write: (text) => void process.stdout.write(text),
    get unwrittenBytes() {
      return process.stdout.writableLength
    },
    signal: end.signal,
  }
}

function listOf(text: string | undefined): string[] {
  return (text ?? '')
    .split(',')
    .map((word) => word.trim())
    .filter((word) => word !== '')
}

function filterOf(values: Values): TailFilter {
  const numbers = (flag: string, pattern: RegExp, expected: string): string[] => {
    const words = listOf(values.get(flag))
    const wrong = words.find((word) => !pattern.test(word))
    if (wrong === undefined) return words
    throw new ConfigError(
      'CONFIG_BAD_VALUE',
      `-${flag} ${JSON.stringify(wrong)}: expected ${expected}.`,
      { flag },
    )
  }
  return {
    events: listOf(values.get('events')),
    shards: numbers('shard', /^[0-9]{1,6}$/, 'numbers of shards').map(Number),
    guild_ids: numbers('guilds', /^[0-9]{1,20}$/, 'ids of guilds'),
  }
}

function printed(stdout: string, exitCode = 0): Outcome {
  return { exitCode, stdout, stderr: '' }
}

function commandOf(words: readonly string[]): { command: Command; args: readonly string[] } {
  const [name, ...args] = words
  const command = name === undefined ? undefined : COMMANDS[name]
  if (command === undefined) {
    const all = Object.keys(COMMANDS).join(', ')
    const guess = name === undefined ? null : nearest(name, Object.keys(COMMANDS))
    const what = name === undefined ? 'a command is missing' : `there is no command ${name}`
    throw new ConfigError(
      'CONFIG_UNKNOWN_COMMAND',
      `${what}${guess === null ? '' : `; did you mean ${guess}`}. There are: ${all}; -help explains them.`,
    )
  }
  if (args.length !== command.args.length) {
    throw new ConfigError(
      'CONFIG_BAD_ARGUMENT',
      `${args.length} arguments for ${name}: expected gatewayctl ${usageOf(name!, command)}.`,
    )
  }
  return { command, args }
}

function usageOf(name: string, { args }: Command): string {
  return [name, ...args.map((arg) => `<${arg}>`)].join(' ')
}

function helpText(): string {
  const commands = Object.entries(COMMANDS).flatMap(([name, command]) => [
    `  ${usageOf(name, command)}`,
    `      ${command.sentence}`,
  ])
  return [
    renderHelp('gatewayctl', SUMMARY, GATEWAYCTL_OPTIONS),
    'Commands:',
    '',
    ...commands,
    '',
    `Exit codes: 0 done, ${EXIT.refused} refused, ${EXIT.usage} the command line is wrong, ${EXIT.unanswered} no worker answers, ${EXIT.open} asked for, but not carried out within -timeout.`,
    '',
  ].join('\n')
}
