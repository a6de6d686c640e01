/** What a database is like, for whoever asks before a start. Reads, and changes nothing. */
import { createHash } from 'node:crypto'
import { ancestorTables } from './adoption/inspection.ts'
import type { Database } from './database.ts'
import { readMigrations } from './migrate.ts'

export interface DatabaseReport {
  /** As Postgres writes it: `15.6`. */
  readonly version: string
  /** `150006`. */
  readonly versionNumber: number
  /** A replica, or set to read only. */
  readonly isReadOnly: boolean
  /** Tables of another program, where no migration of ours ran. */
  readonly ancestorTables: readonly string[]
  /** Files of this program that are still to run, and those that ran with another content. */
  readonly pending: readonly string[]
  readonly changed: readonly string[]
  /** Migrations of a newer program. */
  readonly newer: number
  /** Whose it is; null: nobody's yet. */
  readonly fleet: {
    readonly name: string
    readonly botUserId: string
    readonly shardCount: number | null
  } | null
  /** Shards that have a session to resume. */
  readonly sessions: number
}

export async function reportDatabase(database: Database): Promise<DatabaseReport> {
  const [server] = await database.query<{
    version: string
    number: string
    is_read_only: boolean
  }>(
    `select current_setting('server_version') as version, current_setting('server_version_num') as number,
            pg_is_in_recovery() or current_setting('default_transaction_read_only') = 'on' as is_read_only`,
  )
  const tables = await database.query<{ name: string }>(
    'select table_name as name from information_schema.tables where table_schema = current_schema()',
  )
  const names = new Set(tables.map(({ name }) => name))
  const ran = names.has('gateway_migrations')
    ? await database.query<{ number: number; sha256: string }>(
        'select number, sha256 from gateway_migrations',
      )
    : []
  const hashes = new Map(ran.map(({ number, sha256 }) => [number, sha256]))
  const known = readMigrations()
  const [fleet] = names.has('gateway_fleet')
    ? await database.query<{ name: string; bot_user_id: string; shard_count: number | null }>(
        'select name, bot_user_id, shard_count from gateway_fleet',
      )
    : []
  const [sessions] = names.has('gateway_sessions')
    ? await database.query<{ count: string }>(
        'select count(*) as count from gateway_sessions where session_id is not null',
      )
    : []
  return {
    version: server?.version ?? '',
    versionNumber: Number(server?.number ?? 0),
    isReadOnly: server?.is_read_only ?? false,
    ancestorTables: names.has('gateway_migrations') ? [] : ancestorTables(names),
    pending: known.filter(({ number }) => !hashes.has(number)).map(({ name }) => name),
    changed: known
      .filter(({ number, sql }) => {
        const sha256 = createHash('sha256').update(sql).digest('hex')
        return hashes.has(number) && hashes.get(number) !== sha256
      })
      .map(({ name }) => name),
    newer: ran.filter(({ number }) => number > (known.at(-1)?.number ?? 0)).length,
    fleet:
      fleet === undefined
        ? null
        : { name: fleet.name, botUserId: fleet.bot_user_id, shardCount: fleet.shard_count },
    sessions: Number(sessions?.count ?? 0),
  }
}
