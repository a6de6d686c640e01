import { existsSync, readFileSync } from 'node:fs'
import { BaseError, messageOf, Secret, systemClock, systemRandom } from '../../src/base/index.ts'
import { isOn, parseOptions, renderHelp, STATE_OPTIONS } from '../../src/config/index.ts'
import { createLog } from '../../src/telemetry/index.ts'
import { buildState, type State } from './build.ts'

const SUMMARY = 'serves the guild state that gateway keeps in Postgres, over REST'
const NO_PSQL =
  'state needs -psql with the URL of the Postgres that the gateway writes to. A gateway without -psql keeps its state itself and serves it on its own -http address.'

/** Runs until SIGTERM or SIGINT; sets the exit code. */
export async function main(
  argv: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): Promise<void> {
  const version = programVersion()
  try {
    const { values, isHelp, isVersion } = parseOptions(STATE_OPTIONS, argv, env)
    if (isHelp) {
      process.stdout.write(renderHelp('state', SUMMARY, STATE_OPTIONS))
      return
    }
    if (isVersion) {
      process.stdout.write(`state ${version}\n`)
      return
    }
    const psql = values.get('psql')
    if (psql === undefined) {
      fail(NO_PSQL)
      return
    }
    const log = createLog({ level: 'info', isJson: isOn(values.get('prod')) })
    if (isOn(values.get('pprof'))) {
      log.warn('-pprof has no effect in this version; profile with node --cpu-prof')
    }
    const state = await buildState({
      addr: values.get('addr') ?? '',
      psql: new Secret(psql),
      version,
      clock: systemClock,
      random: systemRandom,
      log,
    })
    stopOnSignal(state, (signal) => log.info('stopping', { signal }))
  } catch (error) {
    if (!(error instanceof BaseError)) throw error
    fail(messageOf(error))
  }
}

function fail(sentence: string): void {
  process.stderr.write(`${sentence}\n`)
  process.exitCode = 1
}

/** The first signal finishes what is under way, a second one does not wait. */
function stopOnSignal(state: State, onStop: (signal: string) => void): void {
  let isStopping = false
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.on(signal, () => {
      if (isStopping) process.exit(1)
      isStopping = true
      onStop(signal)
      state.close().then(
        () => process.exit(0),
        (error: unknown) => {
          process.stderr.write(`${messageOf(error)}\n`)
          process.exit(1)
        },
      )
    })
  }
}

/** From package.json, which lies beside cmd in a clone and beside dist in an installed program. */
function programVersion(): string {
  for (const path of ['../../package.json', '../../../package.json']) {
    const url = new URL(path, import.meta.url)
    if (existsSync(url))
      return (JSON.parse(readFileSync(url, 'utf8')) as { version: string }).version
  }
  return 'unknown'
}
