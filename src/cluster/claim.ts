/** A shard that this process owns, whatever the kind of the cluster. */
import { type Clock, within } from '../base/index.ts'
import type { Fence, ShardClaim } from '../shard/index.ts'

/** A RESUME does not wait for a Postgres that is away; an identify could not be recorded then anyway. */
const HOLDS_TIMEOUT_MS = 2000

export interface ClaimDeps {
  /** Whether the stored fence of the shard is still this one: SessionStore.holds. */
  readonly holds: (shardId: number, fence: Fence) => Promise<boolean>
  readonly clock: Clock
  /** False past the own deadline: nothing is proven then. */
  readonly isInTime: () => boolean
  /** Gives the key back; may reject. */
  readonly onRelease: (claim: Claim) => Promise<void>
}

export class Claim implements ShardClaim {
  readonly shardId: number
  readonly fence: Fence
  readonly #lost = new AbortController()
  readonly lost: AbortSignal = this.#lost.signal
  readonly #handover = new AbortController()
  readonly handover: AbortSignal = this.#handover.signal
  readonly #deps: ClaimDeps
  #successor: string | null = null
  #released: Promise<void> | null = null

  constructor(shardId: number, fence: Fence, deps: ClaimDeps) {
    this.shardId = shardId
    this.fence = fence
    this.#deps = deps
  }

  /** The worker that shall have the shard next; null while it is ours. */
  get successor(): string | null {
    return this.#successor
  }

  get isInTime(): boolean {
    return !this.lost.aborted && this.#deps.isInTime()
  }

  /** The owner shall close, save and release. */
  handOverTo(successor: string): void {
    this.#successor = successor
    this.#handover.abort()
  }

  lose(): void {
    this.#lost.abort()
  }

  /**
   * False past the deadline, or when somebody else has the shard by the stored fence; true when that
   * cannot be known now.
   */
  async confirm(): Promise<boolean> {
    if (!this.isInTime) return false
    // A late answer still ends the claim.
    await within(this.#deps.clock, this.#ask(), HOLDS_TIMEOUT_MS)
    return this.isInTime
  }

  /** Never rejects. */
  async #ask(): Promise<void> {
    try {
      if (!(await this.#deps.holds(this.shardId, this.fence))) this.#lost.abort()
    } catch {
      // Postgres is away: the stores refuse whatever is written under a lost fence.
    }
  }

  release(): Promise<void> {
    this.#lost.abort()
    return (this.#released ??= this.#deps.onRelease(this))
  }
}
