/**
 * Shard claims of a fleet of one process: it owns its whole range from the start until the end. A second
 * process on the same database raises the epoch, and the stores refuse this one's fences.
 */
import { type Clock, systemClock, within } from '../base/index.ts'
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
  /** Whether the stored fence of the shard is still this one: SessionStore.holds. */
  readonly holds: (shardId: number, fence: Fence) => Promise<boolean>
  readonly clock?: Clock
}

/** A RESUME does not wait for a Postgres that is away; an identify could not be recorded then anyway. */
const HOLDS_TIMEOUT_MS = 2000

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
    const { epoch, start, stop, holds, clock = systemClock } = this.#options
    for (let shardId = start; shardId < stop && !signal.aborted; shardId++) {
      const fence = { epoch, revision: ++this.#revision }
      onClaim(new MemoryClaim(shardId, fence, () => holds(shardId, fence), clock))
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
  readonly #holds: () => Promise<boolean>
  readonly #clock: Clock

  constructor(shardId: number, fence: Fence, holds: () => Promise<boolean>, clock: Clock) {
    this.shardId = shardId
    this.fence = fence
    this.#holds = holds
    this.#clock = clock
  }

  /** False when another process has raised the epoch since; true as well when that cannot be known now. */
  async confirm(): Promise<boolean> {
    if (this.lost.aborted) return false
    // A late answer still ends the claim.
    await within(this.#clock, this.#ask(), HOLDS_TIMEOUT_MS)
    return !this.lost.aborted
  }

  /** Never rejects. */
  async #ask(): Promise<void> {
    try {
      if (!(await this.#holds())) this.#lost.abort()
    } catch {
      // Postgres is away: the stores refuse whatever is written under a lost fence.
    }
  }

  release(): Promise<void> {
    this.#lost.abort()
    return Promise.resolve()
  }
}
