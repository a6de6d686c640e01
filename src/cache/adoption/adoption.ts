/**
 * Adopts a database of tatsuworks/gateway, and gives it back. docs/operating.md#moving-from-tatsuworksgateway
 *
 * Each step waits a few seconds for its lock and then lets the others through before it tries again, so that a
 * writer is held up by the step itself only, never by the queue behind one that waits.
 */
import { backoffMs, type Clock, type Log, type Random, sleep } from '../../base/index.ts'
import type { Connection, Database } from '../database.ts'
import { CacheError } from '../errors.ts'
import { readMigrations } from '../migrate.ts'
import { ancestorTables, inspect, type TableState } from './inspection.ts'
import { ADOPTION_TABLE, adoptionSteps, literal, rollbackSteps, type Step } from './steps.ts'

export interface AdoptionDeps {
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  /** How long a step waits for its lock, and how often it tries. */
  readonly lockTimeoutMs?: number
  readonly lockAttempts?: number
}

export interface AdoptionPlan {
  readonly direction: 'adopt' | 'rollback'
  /** The ancestor's tables. */
  readonly tables: readonly TableState[]
  readonly steps: readonly Step[]
  /** Other clients that are connected. */
  readonly others: readonly string[]
}

const LOCK_TIMEOUT_MS = 3000
const LOCK_ATTEMPTS = 20
const LOCK_BACKOFF = { baseMs: 1000, maxMs: 10_000 } as const
/** A table of a hundred gigabytes is rewritten in less. */
const STATEMENT_DEADLINE_MS = 12 * 3600_000
/** lock_not_available. See [PostgreSQL/Appendix A]. */
const LOCK_NOT_AVAILABLE = '55P03'
/** 'gate' 'adop': one adoption at a time. */
const LOCK_KEYS = '1734440037, 1633972080'

/** What adopting it takes; null when there is nothing to adopt. Changes nothing. */
export async function planAdoption(database: Database): Promise<AdoptionPlan | null> {
  const found = await inspect(database)
  if (ancestorTables(new Set(found.tables.keys())).length === 0) return null
  return {
    direction: 'adopt',
    tables: [...found.tables.values()].filter(({ name }) => !name.startsWith('gateway_')),
    steps: adoptionSteps(found, firstMigration()),
    others: found.others,
  }
}

/** What giving it back takes, or the rest of it; null when it was never adopted. Changes nothing. */
export async function planRollback(database: Database): Promise<AdoptionPlan | null> {
  const found = await inspect(database)
  if (!found.tables.has(ADOPTION_TABLE)) return null
  const kept = await database.query<{ kind: string; name: string; undo: string }>(
    `select kind, name, undo from ${ADOPTION_TABLE} order by kind, name`,
  )
  const sized = rollbackSteps(kept, found.tables.has('gateway_migrations')).map((step) => {
    const table = /^alter table (\w+) set unlogged$/.exec(step.statements[0] ?? '')?.[1]
    return { ...step, bytes: found.tables.get(table ?? '')?.bytes ?? 0 }
  })
  return {
    direction: 'rollback',
    tables: [...found.tables.values()].filter(({ name }) => !name.startsWith('gateway_')),
    steps: sized,
    others: found.others,
  }
}

/** Whether it was an ancestor's and is ours now. */
export async function isAdopted(database: Database): Promise<boolean> {
  const [row] = await database.query<{ is: boolean }>(
    `select to_regclass(${literal(ADOPTION_TABLE)}) is not null and to_regclass('gateway_migrations') is not null as is`,
  )
  return row?.is === true
}

/**
 * Runs the steps. What is done when it fails stays done: the next plan begins there.
 *
 * @throws CacheError CACHE_ADOPTION_BUSY, CACHE_ADOPTION_FAILED
 */
export async function runPlan(
  database: Database,
  plan: AdoptionPlan,
  deps: AdoptionDeps,
): Promise<void> {
  const connection = await database.connect('adopt', {
    setup: 'set statement_timeout = 0; set idle_in_transaction_session_timeout = 0',
    deadlineMs: STATEMENT_DEADLINE_MS,
  })
  try {
    const [row] = await connection.query<{ ok: boolean }>(
      `select pg_try_advisory_lock(${LOCK_KEYS}) as ok`,
    )
    if (row?.ok !== true) {
      throw new CacheError(
        'CACHE_ADOPTION_BUSY',
        `Another process is adopting the database at ${database.address}. Wait for it.`,
        { address: database.address },
      )
    }
    await connection.query(
      `create table if not exists ${ADOPTION_TABLE} (
         kind text not null, name text not null, undo text not null, primary key (kind, name)
       )`,
    )
    for (const [index, step] of plan.steps.entries()) {
      const startedAt = deps.clock.monotonic()
      await runStep(connection, step, deps)
      deps.log.info('adoption: step done', {
        step: `${index + 1} of ${plan.steps.length}`,
        what: step.what,
        ms: Math.round(deps.clock.monotonic() - startedAt),
      })
    }
    if (plan.direction === 'rollback') await connection.query(`drop table ${ADOPTION_TABLE}`)
  } finally {
    await connection.close()
  }
}

async function runStep(connection: Connection, step: Step, deps: AdoptionDeps): Promise<void> {
  const { undo } = step
  if (undo !== undefined) {
    await connection.query(
      `insert into ${ADOPTION_TABLE} (kind, name, undo) values ($1, $2, $3) on conflict do nothing`,
      [undo.kind, undo.name, undo.sql],
    )
  }
  const lockTimeoutMs = step.lock === 'none' ? 0 : (deps.lockTimeoutMs ?? LOCK_TIMEOUT_MS)
  const attemptsMax = deps.lockAttempts ?? LOCK_ATTEMPTS
  await connection.query(`set lock_timeout = ${lockTimeoutMs}`)
  for (let attempt = 0; ; attempt++) {
    try {
      for (const statement of step.statements) await connection.query(statement)
      return
    } catch (error) {
      await connection.query('rollback').catch(() => undefined)
      const isLocked = (error as { readonly code?: unknown }).code === LOCK_NOT_AVAILABLE
      if (!isLocked || attempt + 1 >= attemptsMax) throw stepFailed(step, error, isLocked)
      const waitMs = backoffMs(attempt, deps.random, LOCK_BACKOFF)
      deps.log.warn('adoption: the table is in use, trying again', { what: step.what, waitMs })
      await sleep(deps.clock, waitMs)
    }
  }
}

function stepFailed(step: Step, cause: unknown, isLocked: boolean): CacheError {
  return isLocked
    ? new CacheError(
        'CACHE_ADOPTION_BUSY',
        `"${step.what}" did not get its lock: something uses the table all the time. Stop the ancestor and run it again; what is done stays done.`,
        { what: step.what },
        { cause },
      )
    : new CacheError(
        'CACHE_ADOPTION_FAILED',
        `"${step.what}" failed; what was done before stays done, and running it again goes on here.`,
        { what: step.what },
        { cause },
      )
}

function firstMigration() {
  const [first] = readMigrations()
  return first!
}
