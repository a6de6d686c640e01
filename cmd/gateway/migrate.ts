/** `gateway migrate`: shows what bringing a database to this version takes, and with -yes does it. */
import {
  BaseError,
  type Clock,
  type Log,
  memoryCounters,
  messageOf,
  Secret,
  systemClock,
  systemRandom,
} from '../../src/base/index.ts'
import {
  type AdoptionPlan,
  type Database,
  migrate,
  openDatabase,
  planAdoption,
  planRollback,
  runPlan,
} from '../../src/cache/index.ts'
import { isOn, MIGRATE_OPTIONS, parseOptions, renderHelp } from '../../src/config/index.ts'
import { createLog } from '../../src/telemetry/index.ts'
import { failProgram } from '../program.ts'

const SUMMARY =
  'brings a database to the schema of this version; adopts one of tatsuworks/gateway, and gives it back'
const NO_PSQL = 'gateway migrate needs -psql with the URL of the database.'

const LOCKS = {
  none: 'holds up nobody',
  brief: 'a moment of exclusive lock',
  exclusive: 'holds up readers and writers while it runs',
} as const

export async function main(
  argv: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): Promise<void> {
  try {
    const { values, isHelp } = parseOptions(MIGRATE_OPTIONS, argv, env)
    if (isHelp) {
      process.stdout.write(renderHelp('gateway migrate', SUMMARY, MIGRATE_OPTIONS))
      return
    }
    const psql = values.get('psql')
    if (psql === undefined) {
      failProgram(NO_PSQL)
      return
    }
    const log = createLog({ level: 'info', isJson: isOn(values.get('prod')) })
    const common = { clock: systemClock, random: systemRandom, log, counters: memoryCounters() }
    const database = await openDatabase({ url: new Secret(psql), name: 'migrate' }, common)
    try {
      const isSure = isOn(values.get('yes'))
      if (isOn(values.get('rollback'))) await giveBack(database, isSure, common)
      else await bringUp(database, isSure, common)
    } finally {
      await database.close()
    }
  } catch (error) {
    if (!(error instanceof BaseError)) throw error
    failProgram(`gateway migrate: ${messageOf(error)}${causeOf(error)}`)
  }
}

interface Deps {
  readonly clock: Clock
  readonly random: typeof systemRandom
  readonly log: Log
}

async function bringUp(database: Database, isSure: boolean, deps: Deps): Promise<void> {
  const plan = await planAdoption(database)
  if (plan !== null) {
    say(planText(database, plan))
    if (!isSure) {
      say('Nothing was changed. Run it again with -yes to do this.')
      return
    }
    await runPlan(database, plan, deps)
    say('Adopted. Start gateway with -encoding json to keep bots running that read JSON.')
  } else if (!isSure) {
    say(`${database.address} is no database of tatsuworks/gateway that is still to be adopted.`)
    say('With -yes the migrations of this version are applied, as gateway does at its start.')
    return
  }
  const { applied, version } = await migrate(database, deps)
  say(`${applied.length} migrations were applied; the schema is at ${version}.`)
}

async function giveBack(database: Database, isSure: boolean, deps: Deps): Promise<void> {
  const plan = await planRollback(database)
  if (plan === null) {
    failProgram(`${database.address} was not adopted: there is nothing to give back.`)
    return
  }
  say(planText(database, plan))
  if (!isSure) {
    say('Nothing was changed. Run it again with -yes to do this.')
    return
  }
  await runPlan(database, plan, deps)
  say(
    'Given back: tatsuworks/gateway can run on it. Its shards identify, since it has no sessions.',
  )
}

function planText(database: Database, plan: AdoptionPlan): string {
  const tables = [...plan.tables]
    .sort((a, b) => b.bytes - a.bytes)
    .map(({ name, rows, bytes, isUnlogged }) => [
      name,
      rows === null ? 'rows not counted yet' : `about ${rows} rows`,
      size(bytes),
      isUnlogged ? 'unlogged' : 'logged',
    ])
  const steps = plan.steps.map(({ what, bytes, lock }, index) => [
    `${index + 1}.`,
    what,
    bytes === 0 ? '' : size(bytes),
    LOCKS[lock],
  ])
  const others =
    plan.others.length === 0
      ? ''
      : `\nConnected at the moment: ${[...new Set(plan.others)].join(', ')}. Stop tatsuworks/gateway for the last step at the latest.\n`
  const aim = plan.direction === 'adopt' ? 'adopt it' : 'give it back'
  return `Tables of ${database.address}:\n\n${columns(tables)}\n\nTo ${aim}:\n\n${columns(steps)}\n${others}`
}

function size(bytes: number): string {
  if (bytes < 1024 * 1024) return `${Math.ceil(bytes / 1024)} KiB`
  if (bytes < 1024 ** 3) return `${(bytes / 1024 ** 2).toFixed(1)} MiB`
  return `${(bytes / 1024 ** 3).toFixed(1)} GiB`
}

function columns(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]?.map((_, at) => Math.max(...rows.map((row) => row[at]!.length))) ?? []
  return rows
    .map((row) => `  ${row.map((cell, at) => cell.padEnd(widths[at]!)).join('  ')}`.trimEnd())
    .join('\n')
}

function causeOf(error: BaseError): string {
  return error.cause instanceof Error ? ` (${error.cause.message})` : ''
}

function say(text: string): void {
  process.stdout.write(`${text}\n`)
}
