import type { Clock, Log, Random, Secret } from '../../src/base/index.ts'
import { openDatabase, StateEditor, StateReader } from '../../src/cache/index.ts'
import { startHttpServer } from '../../src/server/index.ts'
import { createMetrics } from '../../src/telemetry/index.ts'

export interface StateOptions {
  /** `host:port` of the listener. */
  readonly addr: string
  readonly psql: Secret
  readonly readToken?: Secret
  readonly writeToken?: Secret
  readonly version: string
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  /** How long to wait for Postgres at start. Default 30,000. */
  readonly startTimeoutMs?: number
}

export interface State {
  readonly url: string
  /** Accepts nothing more, finishes what is under way, leaves Postgres. */
  close(): Promise<void>
}

const CONNECTIONS_MAX = 8
/** A slow answer is refused rather than waited for: the caller asks again. */
const STATEMENT_TIMEOUT_MS = 10_000

/**
 * The whole of `state`: a database, a reader, a listener.
 *
 * @throws CacheError when Postgres cannot be reached, ServerError when the address cannot be used.
 */
export async function buildState(options: StateOptions): Promise<State> {
  const { clock, random, log } = options
  const metrics = createMetrics()
  const database = await openDatabase(
    {
      url: options.psql,
      name: 'state',
      connectionsMax: CONNECTIONS_MAX,
      statementTimeoutMs: STATEMENT_TIMEOUT_MS,
      ...(options.startTimeoutMs === undefined ? {} : { startTimeoutMs: options.startTimeoutMs }),
    },
    { clock, random, log, counters: metrics },
  )
  log.info('connected to Postgres', { address: database.address })
  try {
    const server = await startHttpServer({
      address: options.addr,
      flag: 'addr',
      version: options.version,
      clock,
      log,
      metrics,
      state: {
        reader: new StateReader(database, clock),
        editor: new StateEditor(database),
        ...(options.readToken === undefined ? {} : { readToken: options.readToken }),
        ...(options.writeToken === undefined ? {} : { writeToken: options.writeToken }),
      },
    })
    log.info('serving State', { url: `${server.url}/v1/events` })
    return {
      url: server.url,
      async close() {
        await server.close()
        await database.close()
      },
    }
  } catch (error) {
    await database.close()
    throw error
  }
}
