/**
 * Shard claims of a fleet of one process: it owns its whole range from the start until the end. A second
 * process on the same database raises the epoch, and the stores refuse this one's fences.
 */
import type { Fence, ShardClaim, ShardClaims } from '../shard/index.ts'
import { ClusterError } from './errors.ts'

export interface MemoryClaimsOptions {
  /** From FenceStore.raiseEpoch(). */
  readonly epoch: number
  /** First shard. */
  readonly start: number
  /** One past the last shard. */
  readonly stop: number
  readonly shardCount: number
}

export class MemoryClaims implements ShardClaims {
  readonly #options: MemoryClaimsOptions
  #revision = 0

  /** @throws ClusterError CLUSTER_RANGE_INVALID */
  constructor(options: MemoryClaimsOptions) {
    const { start, stop, shardCount } = options
    const isValid = [start, stop, shardCount].every(Number.isSafeInteger)
    if (!isValid || start < 0 || start >= stop || stop > shardCount) {
      throw new ClusterError(
        'CLUSTER_RANGE_INVALID',
        `Shards ${start} to ${stop} (exclusive) are no range of ${shardCount} shards. Check -start, -stop and -shards.`,
        { start, stop, shardCount },
      )
    }
    this.#options = options
  }

  async run(onClaim: (claim: ShardClaim) => void, signal: AbortSignal): Promise<void> {
    const { epoch, start, stop } = this.#options
    for (let shardId = start; shardId < stop && !signal.aborted; shardId++) {
      onClaim(new MemoryClaim(shardId, { epoch, revision: ++this.#revision }))
    }
    if (signal.aborted) return
    await new Promise<void>((resolve) => {
      signal.addEventListener('abort', () => resolve(), { once: true })
    })
  }
}

class MemoryClaim implements ShardClaim {
  readonly shardId: number
  readonly fence: Fence
  readonly #lost = new AbortController()
  readonly lost = this.#lost.signal

  constructor(shardId: number, fence: Fence) {
    this.shardId = shardId
    this.fence = fence
  }

  confirm(): Promise<boolean> {
    return Promise.resolve(!this.lost.aborted)
  }

  release(): Promise<void> {
    this.#lost.abort()
    return Promise.resolve()
  }
}
