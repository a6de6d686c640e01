import { BaseError, messageOf, Secret, systemClock, systemRandom } from '../../src/base/index.ts'
import { isOn, parseOptions, renderHelp, STATE_OPTIONS } from '../../src/config/index.ts'
import { createLog } from '../../src/telemetry/index.ts'
import { failProgram, programVersion, stopOnSignal } from '../program.ts'
import { buildState } from './build.ts'

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
      failProgram(NO_PSQL)
      return
    }
    const log = createLog({ level: 'info', isJson: isOn(values.get('prod')) })
    if (isOn(values.get('pprof'))) {
      log.warn('-pprof has no effect in this version; profile with node --cpu-prof')
    }
    const state = await buildState({
      addr: values.get('addr') ?? '',
      psql: new Secret(psql),
      ...secretOf('readToken', values.get('read-token')),
      ...secretOf('writeToken', values.get('write-token')),
      version,
      clock: systemClock,
      random: systemRandom,
      log,
    })
    stopOnSignal((signal) => {
      log.info('stopping', { signal })
      return state.close()
    })
  } catch (error) {
    if (!(error instanceof BaseError)) throw error
    failProgram(messageOf(error))
  }
}

function secretOf<Name extends string>(
  name: Name,
  value: string | undefined,
): Partial<Record<Name, Secret>> {
  return value === undefined ? {} : ({ [name]: new Secret(value) } as Record<Name, Secret>)
}
