/**
 * Shard claims of a fleet of one process: it owns its whole range from the start until the end. A second
 * process on the same database raises the epoch, and the stores refuse this one's fences.
 */
import { type Clock, systemClock } from '../base/index.ts'
import type { Fence, ShardClaim, ShardClaims } from '../shard/index.ts'
import { Claim } from './claim.ts'
import { checkRange } from './range.ts'

export interface MemoryClaimsOptions {
  /** From FenceStore.raiseEpoch(). */
  readonly epoch: number
  /** First shard. */
  readonly start: number
  /** One past the last shard. */
  readonly stop: number
  readonly shardCount: number
  /** Whether the stored fence of the shard is still this one: SessionStore.holds. */
  readonly holds: (shardId: number, fence: Fence) => Promise<boolean>
  readonly clock?: Clock
}

export class MemoryClaims implements ShardClaims {
  readonly #options: MemoryClaimsOptions
  #revision = 0

  /** @throws ClusterError CLUSTER_RANGE_INVALID */
  constructor(options: MemoryClaimsOptions) {
    checkRange(options)
    this.#options = options
  }

  async run(onClaim: (claim: ShardClaim) => void, signal: AbortSignal): Promise<void> {
    const { epoch, start, stop, holds, clock = systemClock } = this.#options
    for (let shardId = start; shardId < stop && !signal.aborted; shardId++) {
      const fence = { epoch, revision: ++this.#revision }
      onClaim(
        new Claim(shardId, fence, {
          holds,
          clock,
          isInTime: () => true,
          onRelease: () => Promise.resolve(),
        }),
      )
    }
    if (signal.aborted) return
    await new Promise<void>((resolve) => {
      signal.addEventListener('abort', () => resolve(), { once: true })
    })
  }
}
