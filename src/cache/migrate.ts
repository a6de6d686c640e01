/**
 * Brings a database to this program's schema: plain numbered SQL files, each in a transaction of its own,
 * recorded with its hash. Safe from several processes; newer migrations than this program knows are left
 * alone, because two versions run side by side during a deploy and migrations only add.
 */
import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type Log, messageOf } from '../base/index.ts'
import { ancestorTables } from './adoption/inspection.ts'
import type { Database, Queryable } from './database.ts'
import { CacheError } from './errors.ts'

export interface Migration {
  readonly number: number
  /** File name. */
  readonly name: string
  readonly sql: string
}

export interface MigrateDeps {
  readonly log: Log
  /** Default: the files of migrations/. */
  readonly migrations?: readonly Migration[]
}

export interface MigrateResult {
  /** File names, in order. */
  readonly applied: readonly string[]
  /** Highest number in the database, ours or a newer program's. */
  readonly version: number
}

/** 'gate' 'mig1': any pair that nobody else uses. */
const LOCK_KEYS = '1734440037, 1835624241'
/** A migration of large tables takes its time, and so does waiting for another process that runs it. */
const STATEMENT_DEADLINE_MS = 3600_000

/** @throws CacheError CACHE_MIGRATION_CHANGED, CACHE_MIGRATION_FAILED, CACHE_ANCESTOR_DATABASE */
export async function migrate(database: Database, deps: MigrateDeps): Promise<MigrateResult> {
  const migrations = deps.migrations ?? readMigrations()
  const connection = await database.connect('migrate', { deadlineMs: STATEMENT_DEADLINE_MS })
  const applied: string[] = []
  try {
    let version = await connection.transaction((tx) => begin(tx, database.address))
    for (const migration of migrations) {
      const isNew = await connection.transaction((tx) => apply(tx, migration))
      if (isNew) {
        applied.push(migration.name)
        deps.log.info('migration applied', { file: migration.name })
      }
      version = Math.max(version, migration.number)
    }
    return { applied, version }
  } catch (error) {
    throw error instanceof CacheError ? error : failed(error, 'migrations')
  } finally {
    await connection.close()
  }
}

/** Holds everybody else off until the end of this transaction. A wait or a long migration is no fault. */
async function lock(tx: Queryable): Promise<void> {
  await tx.query('set local statement_timeout = 0')
  await tx.query(`select pg_advisory_xact_lock(${LOCK_KEYS})`)
}

async function begin(tx: Queryable, address: string): Promise<number> {
  await lock(tx)
  const tables = await tx.query<{ name: string }>(
    `select table_name as name from information_schema.tables where table_schema = current_schema()`,
  )
  const names = new Set(tables.map(({ name }) => name))
  if (!names.has('gateway_migrations')) {
    const found = ancestorTables(names)
    if (found.length > 0) {
      throw new CacheError(
        'CACHE_ANCESTOR_DATABASE',
        `The database at ${address} holds tables of another program, most likely tatsuworks/gateway (${found.join(', ')}). Adopt it with gateway migrate -psql …, which shows what it would do first, or give an empty database.`,
        { address, tables: found },
      )
    }
    await tx.query(
      `create table gateway_migrations (
         number int4 primary key,
         name text not null,
         sha256 text not null,
         applied_at timestamptz not null default now()
       )`,
    )
  }
  const [row] = await tx.query<{ version: number | null }>(
    'select max(number) as version from gateway_migrations',
  )
  return row?.version ?? 0
}

async function apply(tx: Queryable, migration: Migration): Promise<boolean> {
  await lock(tx)
  const sha256 = createHash('sha256').update(migration.sql).digest('hex')
  const [row] = await tx.query<{ name: string; sha256: string }>(
    'select name, sha256 from gateway_migrations where number = $1',
    [migration.number],
  )
  if (row !== undefined) {
    if (row.sha256 === sha256) return false
    throw new CacheError(
      'CACHE_MIGRATION_CHANGED',
      `The migration ${migration.name} is not the one that ran on this database as ${row.name}. Restore the file of that release; changes go into a new file.`,
      { name: migration.name, recorded: row.sha256, found: sha256 },
    )
  }
  try {
    await tx.query(migration.sql)
  } catch (error) {
    throw failed(error, migration.name)
  }
  await tx.query('insert into gateway_migrations (number, name, sha256) values ($1, $2, $3)', [
    migration.number,
    migration.name,
    sha256,
  ])
  return true
}

function failed(cause: unknown, name: string): CacheError {
  return new CacheError(
    'CACHE_MIGRATION_FAILED',
    `The migration ${name} failed (${messageOf(cause)}); the database is as it was before it.`,
    { name },
    { cause },
  )
}

/** The files of migrations/, by number. */
export function readMigrations(): Migration[] {
  const folder = migrationsFolder()
  return readdirSync(folder)
    .filter((name) => /^\d{4}_.*\.sql$/.test(name))
    .sort()
    .map((name) => ({
      number: Number(name.slice(0, 4)),
      name,
      sql: readFileSync(join(folder, name), 'utf8'),
    }))
}

/** The nearest migrations/ above this file: beside src/ in a clone, beside dist/ in a package. */
function migrationsFolder(): string {
  let folder = dirname(fileURLToPath(import.meta.url))
  while (!existsSync(join(folder, 'migrations', '0001_state.sql'))) {
    const parent = dirname(folder)
    if (parent === folder)
      throw new CacheError(
        'CACHE_MIGRATION_FAILED',
        'migrations/ is missing from this installation. Install the program again.',
      )
    folder = parent
  }
  return join(folder, 'migrations')
}
