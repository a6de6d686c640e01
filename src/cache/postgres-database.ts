import pg from 'pg'
import { backoffMs, redactUrl, sleep } from '../base/index.ts'
import { ClientConnection, connectError, isSilence, statementError } from './client-connection.ts'
import type { Connection, Database, DatabaseDeps, PostgresOptions } from './database.ts'
import { CacheError } from './errors.ts'

/** The first with MERGE. */
const SERVER_VERSION_MIN = 150_000
const START_TIMEOUT_MS = 30_000
const STATEMENT_TIMEOUT_MS = 30_000
const IDLE_IN_TRANSACTION_TIMEOUT_MS = 10_000
/** Longer than a take-over waits for its locks, twice 3 s; a sequence that waits longer holds up a shutdown. */
const DEADLINE_MS = 8000
const CONNECT_TIMEOUT_MS = 10_000
/** So much of a statement is logged. */
const STATEMENT_CHARS_MAX = 80
const CLOSE_TIMEOUT_MS = 1000
const POOL_CONNECTIONS_MAX = 4
/** Batches of 1,000 are as fast as 5,000 and hold their locks for less long. */
const ROWS_PER_STATEMENT_MAX = 1000

/** Opens a pool for single statements; lanes get connections of their own. */
export async function openPostgres(
  options: PostgresOptions,
  deps: DatabaseDeps,
): Promise<Database> {
  const address = redactUrl(options.url.reveal())
  const defaultDeadlineMs = options.deadlineMs ?? DEADLINE_MS
  const config = {
    connectionString: options.url.reveal(),
    application_name: `gateway ${options.name}`,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    statement_timeout: options.statementTimeoutMs ?? STATEMENT_TIMEOUT_MS,
    idle_in_transaction_session_timeout:
      options.idleInTransactionTimeoutMs ?? IDLE_IN_TRANSACTION_TIMEOUT_MS,
    keepAlive: true,
  } satisfies pg.ClientConfig
  const connectionsMax = options.connectionsMax ?? POOL_CONNECTIONS_MAX
  // A client whose statement timed out is not taken back: pg-pool destroys it, as after any error.
  const pool = new pg.Pool({ ...config, query_timeout: defaultDeadlineMs, max: connectionsMax })
  const retries = deps.counters.counter('gateway_cache_retries_total')
  const saySilent = (label: string, text: string, deadlineMs: number): void => {
    deps.log.warn('database did not answer in time: connection broken off', {
      address,
      connection: label,
      statement: text.trim().slice(0, STATEMENT_CHARS_MAX),
      deadlineMs,
    })
  }
  pool.on('error', (error) => {
    deps.log.debug('idle database connection lost', { address, error: error.message })
  })
  try {
    const version = await untilItAnswers(
      pool,
      address,
      options.startTimeoutMs ?? START_TIMEOUT_MS,
      deps,
    )
    refuseOldServer(version, address)
  } catch (error) {
    await pool.end()
    throw error
  }
  const connections = new Set<Connection>()
  let closing: Promise<void> | null = null
  return {
    kind: 'postgres',
    address,
    capabilities: {
      connectionsMax,
      hasTimeouts: true,
      rowsPerStatementMax: ROWS_PER_STATEMENT_MAX,
    },
    async query<Row>(
      text: string,
      values?: readonly unknown[],
      name?: string,
      deadlineMs = defaultDeadlineMs,
    ): Promise<Row[]> {
      const query: pg.QueryConfig & pg.ClientConfig = { text, query_timeout: deadlineMs }
      if (values !== undefined) query.values = values as unknown[]
      if (name !== undefined) query.name = name
      try {
        return (await pool.query(query)).rows as Row[]
      } catch (error) {
        if (isSilence(error)) {
          retries.value++
          saySilent('pool', text, deadlineMs)
        }
        throw statementError(error, address)
      }
    },
    connect(label, { setup, deadlineMs } = {}) {
      const ownDeadlineMs = deadlineMs ?? defaultDeadlineMs
      const clientConfig = {
        ...config,
        application_name: `${config.application_name} ${label}`,
        query_timeout: ownDeadlineMs,
        pipeline: true,
      }
      const makeClient = (): pg.Client => new pg.Client(clientConfig)
      const connection = new ClientConnection(makeClient, address, {
        setup,
        onSilent(text) {
          // Whoever has a deadline of its own counts its retries itself.
          if (deadlineMs === undefined) retries.value++
          saySilent(label, text, ownDeadlineMs)
        },
      })
      connections.add(connection)
      return Promise.resolve(connection)
    },
    close() {
      closing ??= closeAll(pool, connections, deps)
      return closing
    },
  }
}

/** A server that is stuck must not hold up the end of the program. */
async function closeAll(
  pool: pg.Pool,
  connections: Iterable<Connection>,
  deps: DatabaseDeps,
): Promise<void> {
  await Promise.all([...connections].map((connection) => connection.close()))
  const closed = new AbortController()
  const timeout = sleep(deps.clock, CLOSE_TIMEOUT_MS, closed.signal).catch(() => undefined)
  await Promise.race([pool.end(), timeout])
  closed.abort()
}

/** @param version as server_version_num says it: 150004 is 15.4. */
export function refuseOldServer(version: number, address: string): void {
  if (version >= SERVER_VERSION_MIN) return
  throw new CacheError(
    'CACHE_POSTGRES_TOO_OLD',
    `Postgres at ${address} is version ${Math.floor(version / 10_000)}; the cache needs 15 or later. Upgrade it, or give another server with -psql.`,
    { address, version },
  )
}

/** Tries with backoff: a deploy often starts the database and us together. */
async function untilItAnswers(
  pool: pg.Pool,
  address: string,
  timeoutMs: number,
  deps: DatabaseDeps,
): Promise<number> {
  const startedAt = deps.clock.monotonic()
  for (let attempt = 0; ; attempt++) {
    try {
      const { rows } = await pool.query<{ version: number }>(
        `select current_setting('server_version_num')::int4 as version`,
      )
      return rows[0]?.version ?? 0
    } catch (thrown) {
      const error = connectError(thrown, address)
      if (!error.retryable) throw error
      const waitMs = backoffMs(attempt, deps.random, { baseMs: 200, maxMs: 5000 })
      const elapsedMs = deps.clock.monotonic() - startedAt
      if (elapsedMs + waitMs > timeoutMs) {
        throw new CacheError(
          'CACHE_UNREACHABLE',
          `Postgres at ${address} did not answer in ${attempt + 1} attempts over ${Math.round(elapsedMs / 1000)} s. Is it running, and is -psql right?`,
          { address, attempts: attempt + 1 },
          { cause: thrown, retryable: true },
        )
      }
      if (attempt === 0) {
        deps.log.warn('database does not answer, trying again', { address, error: error.message })
      }
      await sleep(deps.clock, waitMs)
    }
  }
}
