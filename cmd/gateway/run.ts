import { BaseError, messageOf, systemClock, systemRandom } from '../../src/base/index.ts'
import { GATEWAY_OPTIONS, readGatewayConfig, renderHelp } from '../../src/config/index.ts'
import { createLog, createMetrics } from '../../src/telemetry/index.ts'
import { failProgram, programVersion, stopOnDefect, stopOnSignal } from '../program.ts'
import { checkGateway, wantsCheck } from './check/check.ts'
import { renderRows } from './check/row.ts'
import { startGateway } from './start.ts'
import { endWithParent, FATAL_MESSAGE, WorkerParent } from './workers.ts'

const SUMMARY =
  "holds a bot's Discord shards, caches guild state and pushes the events to its backends"

/** How long -check tries what does not answer. */
const CHECK_TIMEOUT_MS = 5000

/** Parses, wires, runs until a signal or a fatal error, drains; sets the exit code. */
export async function main(
  argv: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): Promise<void> {
  if (argv[0] === 'migrate') {
    const { main: migrateMain } = await import('./migrate.ts')
    return migrateMain(argv.slice(1), env)
  }
  const version = programVersion()
  if (wantsCheck(argv, env)) {
    const deps = { version, clock: systemClock, random: systemRandom, timeoutMs: CHECK_TIMEOUT_MS }
    const rows = await checkGateway(argv, env, deps)
    if (rows.length > 0) {
      process.stdout.write(`${renderRows(rows)}\n`)
      process.exit(rows.some(({ state }) => state === 'not ok') ? 1 : 0)
    }
  }
  const stopping = new AbortController()
  try {
    const command = readGatewayConfig(argv, env)
    if (command.kind === 'help') {
      process.stdout.write(renderHelp('gateway', SUMMARY, GATEWAY_OPTIONS))
      return
    }
    if (command.kind === 'version') {
      process.stdout.write(`gateway ${version}\n`)
      return
    }
    const { config } = command
    const log = createLog({ level: config.logLevel, isJson: config.isProd })
    // Workers have their parent's command line: it has said so.
    if (config.exposedFlags.length > 0 && process.channel === undefined) {
      log.warn(
        'secrets stand on the command line, where everybody on this host can read them: give the token by -token-file, others by GATEWAY_ variables',
        { flags: config.exposedFlags },
      )
    }
    let stop = (_signal: NodeJS.Signals): Promise<void> => Promise.resolve()
    let reload = (): void => log.info('SIGHUP: the file of -destinations was just read', {})
    // Without the file nothing can be read again, and SIGHUP ends a process as it ever does.
    if (config.isReloadable) process.on('SIGHUP', () => reload())
    stopOnDefect((error) => {
      log.error('a defect of the program: stopping, please report it', {
        error: error instanceof Error ? error.stack : error,
      })
      stopping.abort(error)
      return stop('SIGTERM')
    })
    stopOnSignal((signal) => {
      log.info('stopping', { signal })
      stopping.abort(new Error(`stopped by ${signal}`))
      return stop(signal)
    })
    if (config.workers > 1) {
      const parent = new WorkerParent(config, {
        version,
        clock: systemClock,
        random: systemRandom,
        log,
        argv,
        env,
        write: (line) => process.stderr.write(`${line}\n`),
      })
      stop = (signal) => parent.stop(signal)
      reload = () => parent.reload()
      await parent.start()
      await parent.fatal
      process.exitCode = 1
      await parent.stop('SIGTERM')
      process.exit(1)
    }
    endWithParent()
    const gateway = await startGateway(config, {
      version,
      clock: systemClock,
      random: systemRandom,
      log,
      metrics: createMetrics(),
      readDestinations: () => {
        const again = readGatewayConfig(argv, env)
        return again.kind === 'run' ? again.config.destinations : config.destinations
      },
      signal: stopping.signal,
    })
    stop = () => gateway.stop()
    reload = () => void gateway.reload()
    if (stopping.signal.aborted) return
    const fatal = await gateway.fatal
    process.exitCode = 1
    await gateway.stop()
    log.error(FATAL_MESSAGE, { code: fatal.code })
    process.exit(1)
  } catch (error) {
    if (stopping.signal.aborted) return
    if (!(error instanceof BaseError)) throw error
    failProgram(`gateway: ${messageOf(error)}`)
    // Connections of rooms that did start must not keep the process.
    process.exit(1)
  }
}
