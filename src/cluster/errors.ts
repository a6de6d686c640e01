/** Errors of the cluster room. The table is also docs/errors.md's text: what it means, what to do. */
import { BaseError } from '../base/index.ts'

export const CLUSTER_ERRORS = {
  CLUSTER_RANGE_INVALID:
    'The range of shards that this process is to hold is empty or beyond the shard count. Check -start, -stop and -shards: 0 <= start < stop <= shards.',
  CLUSTER_PERMIT_LOST:
    'An identify permit was used after it was given back. Nothing was sent; the shard asks for a new one.',
} as const

export class ClusterError extends BaseError<keyof typeof CLUSTER_ERRORS> {
  override readonly name = 'ClusterError'
}
