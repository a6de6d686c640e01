/**
 * Who may write for a shard, decided by Postgres. docs/architecture.md#fencing
 *
 *   writer                                   take-over
 *   ──────                                   ─────────
 *   begin                                    begin
 *   lock shared, shards in ascending order   lock exclusive, one shard
 *   read the fences (own snapshot)           write the fence if higher, read the session
 *   write the rows                           commit
 *   commit
 *
 * So a take-over waits for the transactions that speak for its shard, and whoever comes after it sees
 * its fence. The fences are read in a second statement, because one statement has one snapshot, taken
 * before it waited for the lock.
 */
import type { Queryable } from './database.ts'

/** Compared epoch first, then revision. */
export interface Fence {
  readonly epoch: number
  readonly revision: number
}

/** First key of the shards' advisory locks: 'shrd'. The second is the shard; a database has one fleet. */
export const SHARD_LOCK_KEY = 1936224868

/** Takes the shared locks of the shards until the end of the transaction. @param shards ascending */
export async function lockShared(tx: Queryable, shards: readonly number[]): Promise<void> {
  await tx.query(
    `select pg_advisory_xact_lock_shared(${SHARD_LOCK_KEY}, shard) from unnest($1::int4[]) as shard`,
    [shards],
    'gateway_lock_shared',
  )
}

/** The stored fences of the shards; a shard that nobody ever took over is missing. After `lockShared`. */
export async function readFences(
  tx: Queryable,
  name: string,
  shards: readonly number[],
): Promise<Map<number, Fence>> {
  const rows = await tx.query<{ shard: number; epoch: string; revision: string }>(
    `select shard, fence_epoch as epoch, fence_revision as revision
     from gateway_sessions where name = $1 and shard = any($2::int4[])`,
    [name, shards],
    'gateway_read_fences',
  )
  return new Map(
    rows.map(({ shard, epoch, revision }) => [
      shard,
      { epoch: Number(epoch), revision: Number(revision) },
    ]),
  )
}

export function isSameFence(a: Fence | undefined, b: Fence | undefined): boolean {
  return a !== undefined && b !== undefined && a.epoch === b.epoch && a.revision === b.revision
}
