/**
 * The one face of both databases: Postgres through `pg`, and PGlite (Postgres compiled to WebAssembly)
 * in a worker thread, which speaks the same wire protocol. So statements, binary parameters, prepared
 * names and errors are the same for both; what differs is declared in `capabilities`.
 */
import type { Clock, Counters, Log, Random, Secret } from '../base/index.ts'
import { openEmbedded } from './embedded-database.ts'
import { openPostgres } from './postgres-database.ts'

export interface Queryable {
  /**
   * Runs one statement and returns its rows as objects. int8 comes as a decimal string, jsonb parsed
   * (select `data::text` to keep the text), timestamptz as Date.
   *
   * @param values  `$1…`; a Buffer is passed as a binary parameter.
   * @param name    prepared once per connection under this name; the text must be the same each time.
   * @throws CacheError CACHE_CONNECTION_LOST, CACHE_UNREACHABLE; Postgres' own DatabaseError otherwise.
   */
  query<Row>(text: string, values?: readonly unknown[], name?: string): Promise<Row[]>
}

export interface Transaction extends Queryable {
  /** Runs a statement that writes. @returns how many rows it inserted, updated or deleted */
  change(text: string, values: readonly unknown[], name: string): Promise<number>
}

export interface Connection extends Queryable {
  /**
   * Runs `work` between BEGIN and COMMIT; ROLLBACK when it throws. Statements need not be awaited: they are
   * pipelined, and when one of them fails the transaction is rolled back and rejects with the first failure.
   */
  transaction<T>(work: (tx: Transaction) => Promise<T>): Promise<T>
  close(): Promise<void>
}

export interface ConnectionOptions {
  /** Statements that run each time the connection opens. */
  readonly setup?: string
  /**
   * A statement that is not answered by then ends the connection and rejects with CACHE_CONNECTION_LOST:
   * a dead host sends no reset. Default: the database's, 8,000. Postgres only.
   */
  readonly deadlineMs?: number
}

export interface DatabaseCapabilities {
  readonly connectionsMax: number
  /** Whether statement and idle-in-transaction timeouts work, and a backend can be terminated. */
  readonly hasTimeouts: boolean
  /** More rows in one statement block everybody else for too long. */
  readonly rowsPerStatementMax: number
}

export interface Database extends Queryable {
  readonly kind: 'postgres' | 'embedded'
  readonly capabilities: DatabaseCapabilities
  /** Where it is, without secrets: `postgres://user:***@host/db` or a folder. */
  readonly address: string
  /** @param deadlineMs as ConnectionOptions has it, for this statement. */
  query<Row>(
    text: string,
    values?: readonly unknown[],
    name?: string,
    deadlineMs?: number,
  ): Promise<Row[]>
  /**
   * A connection of its own, for one lane of writes. It opens when it is first used and again after it
   * broke; a call on it while Postgres is away fails at once, the caller waits and repeats.
   * Embedded, connections are turns on the only one: whole transactions take turns.
   */
  connect(label: string, options?: ConnectionOptions): Promise<Connection>
  close(): Promise<void>
}

export interface DatabaseDeps {
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  readonly counters: Counters
}

export interface PostgresOptions {
  readonly url: Secret
  /** Worker's name, for application_name. */
  readonly name: string
  /** Connections for `query`; those of `connect` come on top. Default 4. */
  readonly connectionsMax?: number
  /** How long to try at start. Default 30,000. */
  readonly startTimeoutMs?: number
  /** A statement that runs longer is cancelled by the server. Default 30,000. */
  readonly statementTimeoutMs?: number
  /** A statement that is not answered by then ends its connection. Default 8,000. */
  readonly deadlineMs?: number
  /** A transaction that idles longer is ended by the server. Default 10,000. */
  readonly idleInTransactionTimeoutMs?: number
}

export interface EmbeddedOptions {
  /** Folder; created when it is not there, locked for this process. */
  readonly dataDir: string
}

/**
 * Opens Postgres by URL, or the embedded database in a folder, and proves that it answers.
 *
 * @throws CacheError CACHE_UNREACHABLE, CACHE_REFUSED, CACHE_DATA_LOCKED, CACHE_DATA_UNUSABLE
 */
export function openDatabase(
  options: PostgresOptions | EmbeddedOptions,
  deps: DatabaseDeps,
): Promise<Database> {
  return 'url' in options ? openPostgres(options, deps) : openEmbedded(options, deps)
}
