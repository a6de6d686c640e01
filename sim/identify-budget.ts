/**
 * How many sessions may be started, and how fast. See [Discord Docs/Gateway#session-start-limit-object] and
 * #sharding-max-concurrency.
 */
import type { Clock } from '../src/base/index.ts'

const DAY_MS = 86_400_000

export interface IdentifyLimits {
  /** Left today; from tomorrow on this many a day. */
  readonly left: number
  readonly maxConcurrency: number
  readonly windowMs: number
}

export class IdentifyBudget {
  readonly #clock: Clock
  readonly #limits: IdentifyLimits
  #left: number
  #dayEndsAtMs: number
  /** Rate limit key (shard_id % max_concurrency) → monotonic ms of its last identify. */
  readonly #buckets = new Map<number, number>()

  constructor(clock: Clock, limits: IdentifyLimits) {
    this.#clock = clock
    this.#limits = limits
    this.#left = limits.left
    this.#dayEndsAtMs = clock.monotonic() + DAY_MS
  }

  get left(): number {
    this.#refill()
    return this.#left
  }

  get resetAfterMs(): number {
    this.#refill()
    return Math.round(this.#dayEndsAtMs - this.#clock.monotonic())
  }

  /** Takes one, or says why not; a refused identify costs nothing. */
  take(shardId: number): 'ok' | 'budget' | 'concurrency' {
    if (this.left <= 0) return 'budget'
    const key = shardId % this.#limits.maxConcurrency
    const now = this.#clock.monotonic()
    const last = this.#buckets.get(key)
    if (last !== undefined && now - last < this.#limits.windowMs) return 'concurrency'
    this.#buckets.set(key, now)
    this.#left--
    return 'ok'
  }

  #refill(): void {
    const now = this.#clock.monotonic()
    if (now < this.#dayEndsAtMs) return
    this.#left = this.#limits.left
    this.#dayEndsAtMs = now + DAY_MS
  }
}
