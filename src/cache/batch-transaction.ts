/**
 * One batch as one transaction under the fences of its shards; rows that the database refuses for what
 * they hold are found by halving and left out, so that one bad row never holds up a shard.
 */
import { setImmediate as nextTurn } from 'node:timers/promises'
import pg from 'pg'
import type { Batch } from './batch.ts'
import type { BatchStatement, BatchStatements, PoisonRow } from './batch-statements.ts'
import type { Connection, Transaction } from './database.ts'
import { isSameFence, lockShared, readFences } from './fences.ts'

/** Bytes on their way at a time: the next statement is made while the database works on the last. */
const PIPELINE_BYTES_MAX = 512 * 1024
/** Made in one turn of the event loop; then heartbeats and sockets have theirs. About 2 ms, for each lane. */
const TURN_BYTES = 256 * 1024

/**
 * Classes 22 (data exception), 23 (constraint) and 54 (program limit): the row is at fault, a repeat
 * fails alike. But 23505, a key that somebody inserted at the same time: the repeat finds it.
 */
const DATA_ERROR = /^(22|23(?!505)|54)/

export function isDataError(error: unknown): boolean {
  return error instanceof pg.DatabaseError && DATA_ERROR.test(error.code ?? '')
}

export interface BatchResult {
  /** Shards whose fence was not the stored one: their rows were left out. */
  readonly lost: readonly number[]
  readonly poison: readonly PoisonRow[]
  /** Rows that were sent. */
  readonly rows: number
  /** Those of them that the database had already as they are. */
  readonly unchangedRows: number
}

/** Rows of one transaction; complete when it has committed. */
interface Tally {
  sent: number
  changed: number
}

export interface BatchTransactionDeps {
  readonly connection: Connection
  readonly fleetName: string
  readonly statements: BatchStatements
}

/** @param isolated  each statement behind a savepoint; for a batch that failed by a data error. */
export function commitBatch(
  batch: Batch,
  isolated: boolean,
  deps: BatchTransactionDeps,
): Promise<BatchResult> {
  const tally: Tally = { sent: 0, changed: 0 }
  return deps.connection
    .transaction((tx) => write(tx, batch, isolated, deps, tally))
    .then((result) => ({
      ...result,
      rows: tally.sent,
      unchangedRows: Math.max(0, tally.sent - tally.changed),
    }))
}

async function write(
  tx: Transaction,
  batch: Batch,
  isolated: boolean,
  deps: BatchTransactionDeps,
  tally: Tally,
): Promise<Pick<BatchResult, 'lost' | 'poison'>> {
  const shards = [...batch.shards.keys()].sort((a, b) => a - b)
  const locked = lockShared(tx, shards)
  const stored = readFences(tx, deps.fleetName, shards)
  const [, fences] = await Promise.all([locked, stored])
  const lost = new Set(
    shards.filter((shard) => !isSameFence(fences.get(shard), batch.shards.get(shard)?.fence)),
  )
  const poison: PoisonRow[] = []
  const onPoison = (row: PoisonRow): void => {
    poison.push(row)
  }
  const statements = deps.statements.of(batch, deps.fleetName, lost, onPoison)
  if (isolated) {
    for (const statement of statements) {
      await writeIsolated(tx, statement, deps.statements, onPoison, tally)
    }
  } else {
    await writePipelined(tx, statements, tally)
  }
  return { lost: [...lost], poison }
}

/** What is still on its way at the end goes with the COMMIT, which fails if it fails. */
async function writePipelined(
  tx: Transaction,
  statements: Iterable<BatchStatement>,
  tally: Tally,
): Promise<void> {
  const pending: { readonly written: Promise<unknown>; readonly bytes: number }[] = []
  let pendingBytes = 0
  let turnBytes = 0
  for (const { text, values, name, order } of statements) {
    const bytes = byteLength(values)
    tally.sent += order.length
    const written = tx.change(text, values, name).then((changed) => {
      // Statements without rows of their own (wide changes) are not part of the sum.
      if (order.length > 0) tally.changed += changed
    })
    written.catch(() => undefined)
    pending.push({ written, bytes })
    pendingBytes += bytes
    turnBytes += bytes
    if (turnBytes >= TURN_BYTES) {
      await nextTurn()
      turnBytes = 0
    }
    while (pendingBytes > PIPELINE_BYTES_MAX && pending.length > 1) {
      const first = pending.shift()!
      pendingBytes -= first.bytes
      await first.written
    }
  }
}

function byteLength(values: readonly unknown[]): number {
  let bytes = 0
  for (const value of values) if (value instanceof Uint8Array) bytes += value.length
  return bytes
}

async function writeIsolated(
  tx: Transaction,
  statement: BatchStatement,
  statements: BatchStatements,
  onPoison: (row: PoisonRow) => void,
  tally: Tally,
): Promise<void> {
  await tx.query('savepoint gateway_row')
  try {
    const changed = await tx.change(statement.text, statement.values, statement.name)
    await tx.query('release savepoint gateway_row')
    tally.sent += statement.order.length
    if (statement.order.length > 0) tally.changed += changed
    return
  } catch (error) {
    if (!isDataError(error)) throw error
    await tx.query('rollback to savepoint gateway_row')
    const { rows, order } = statement
    if (rows === null || order.length <= 1) {
      const row = order[0]
      onPoison({
        table: rows?.table.name ?? statement.name,
        shardId: rows === null || row === undefined ? -1 : rows.shardOf(row),
        sequence: rows === null || row === undefined ? 0 : rows.sequenceOf(row),
        cause: error,
      })
      return
    }
    const middle = order.length >> 1
    for (const half of [order.slice(0, middle), order.slice(middle)]) {
      const part = statements.ofRows(rows, half, onPoison)
      if (part !== null) await writeIsolated(tx, part, statements, onPoison, tally)
    }
  }
}
