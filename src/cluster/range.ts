import { ClusterError } from './errors.ts'

export interface ShardRange {
  readonly start: number
  /** Exclusive. */
  readonly stop: number
  readonly shardCount: number
}

/** @throws ClusterError CLUSTER_RANGE_INVALID */
export function checkRange({ start, stop, shardCount }: ShardRange): void {
  const isValid = [start, stop, shardCount].every(Number.isSafeInteger)
  if (isValid && start >= 0 && start < stop && stop <= shardCount) return
  throw new ClusterError(
    'CLUSTER_RANGE_INVALID',
    `Shards ${start} to ${stop} (exclusive) are no range of ${shardCount} shards. Check -start, -stop and -shards.`,
    { start, stop, shardCount },
  )
}
