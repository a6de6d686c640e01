/**
 * How many identifies may still be sent today, from what /gateway/bot says and from the recorded ones.
 * Discord resets the token of a bot that exceeds its limit, so the lower of the two numbers counts.
 * See [Discord Docs/Gateway#session-start-limit].
 */
import type { Clock, Log } from '../base/index.ts'
import { messageOf } from '../base/index.ts'
import type { IdentifyLog, SessionStartLimit } from '../shard/index.ts'

const DAY_MS = 24 * 3600_000
/** An answer of /gateway/bot is trusted for so long; identifies of this process are counted on top. */
const LIMIT_AGE_MS_MAX = 60_000

export interface Allowed {
  readonly isAllowed: true
  /** By one of `gatewayctl identifies -allow`. */
  readonly isByOperator: boolean
}

export type Verdict =
  | Allowed
  | {
      readonly isAllowed: false
      readonly cause: 'budget' | 'breaker' | 'unknown'
      /** Time after which it is worth asking again. */
      readonly retryMs: number
      readonly fields: Readonly<Record<string, unknown>>
    }

export interface BudgetReport {
  readonly total: number
  readonly left: number
  /** Recorded since the last reset. */
  readonly used: number
  readonly reserve: number
  readonly resetAfterMs: number
  readonly maxConcurrency: number
  readonly breaker: number
  readonly breakerWindowMs: number
}

export interface IdentifyBudgetOptions {
  readonly log: IdentifyLog
  /** GET /gateway/bot. */
  readonly fetchLimit: () => Promise<SessionStartLimit>
  /** The answer that the start-up already has. */
  readonly limit: SessionStartLimit
  readonly clock: Clock
  readonly logger: Log
  /** Identifies that are never spent; default 5 % of the total. */
  readonly reserve?: number
  /** More than this many of one shard in BREAKER_WINDOW_MS stop all identifies. */
  readonly breakerMax?: number
}

const BREAKER_WINDOW_MS = 600_000
const BREAKER_MAX = 3
const RETRY_MS = 30_000

export class IdentifyBudget {
  readonly #options: IdentifyBudgetOptions
  #limit: SessionStartLimit
  #limitAt: number
  #spentSince = 0

  constructor(options: IdentifyBudgetOptions) {
    this.#options = options
    this.#limit = options.limit
    this.#limitAt = options.clock.monotonic()
  }

  /** Identifies left today by Discord's last word. */
  get remaining(): number {
    return Math.max(0, this.#limit.remaining - this.#spentSince)
  }

  /** One identify was recorded. */
  spend(): void {
    this.#spentSince++
  }

  /**
   * Rejects when the recorded identifies cannot be read: then nothing may be sent.
   *
   * @param promised identifies that are permitted and not recorded yet
   */
  async verdict(shardId: number, promised: number): Promise<Verdict> {
    const { log, clock } = this.#options
    await this.#refresh()
    const now = clock.now()
    const recent = await log.countSince(now - BREAKER_WINDOW_MS, shardId)
    if (recent.shard >= this.#breakerMax) {
      if (await log.takeAllowance()) return { isAllowed: true, isByOperator: true }
      const fields = { shardId, identifies: recent.shard, windowMs: BREAKER_WINDOW_MS }
      return { isAllowed: false, cause: 'breaker', retryMs: RETRY_MS, fields }
    }
    const { total, resetAfterMs } = this.#limit
    const ageMs = clock.monotonic() - this.#limitAt
    const today = await log.countSince(this.#dayStart(), shardId)
    const left = Math.min(this.remaining, total - today.all) - promised
    if (left > this.#reserve) return { isAllowed: true, isByOperator: false }
    if (await log.takeAllowance()) return { isAllowed: true, isByOperator: true }
    const retryMs = Math.min(RETRY_MS, Math.max(1000, resetAfterMs - ageMs))
    return {
      isAllowed: false,
      cause: 'budget',
      retryMs,
      fields: { total, left, recorded: today.all, resetAfterMs: Math.max(0, resetAfterMs - ageMs) },
    }
  }

  /** For operators. Rejects when the recorded identifies cannot be read. */
  async report(): Promise<BudgetReport> {
    const { log, clock } = this.#options
    await this.#refresh()
    const { total, resetAfterMs, maxConcurrency } = this.#limit
    const { all: used } = await log.countSince(this.#dayStart(), 0)
    return {
      total,
      left: Math.min(this.remaining, total - used),
      used,
      reserve: this.#reserve,
      resetAfterMs: Math.max(0, resetAfterMs - (clock.monotonic() - this.#limitAt)),
      maxConcurrency,
      breaker: this.#breakerMax,
      breakerWindowMs: BREAKER_WINDOW_MS,
    }
  }

  get #reserve(): number {
    return this.#options.reserve ?? Math.ceil(this.#limit.total * 0.05)
  }

  get #breakerMax(): number {
    return this.#options.breakerMax ?? BREAKER_MAX
  }

  /** Discord's day ends at the reset; rows from before it no longer count. */
  #dayStart(): number {
    const { clock } = this.#options
    const ageMs = clock.monotonic() - this.#limitAt
    const now = clock.now()
    return Math.max(now - DAY_MS, now - ageMs + this.#limit.resetAfterMs - DAY_MS)
  }

  async #refresh(): Promise<void> {
    const { clock, fetchLimit, logger } = this.#options
    const ageMs = clock.monotonic() - this.#limitAt
    if (ageMs < LIMIT_AGE_MS_MAX) return
    try {
      this.#limit = await fetchLimit()
      this.#limitAt = clock.monotonic()
      this.#spentSince = 0
    } catch (error) {
      logger.warn('GET /gateway/bot failed: the last known identify limit is used', {
        ageMs,
        error: messageOf(error),
      })
      if (ageMs < this.#limit.resetAfterMs) return
      // The day of the old answer is over, so its total is available again.
      const resetAfterMs = DAY_MS - ((ageMs - this.#limit.resetAfterMs) % DAY_MS)
      this.#limit = { ...this.#limit, remaining: this.#limit.total, resetAfterMs }
      this.#limitAt = clock.monotonic()
      this.#spentSince = 0
    }
  }
}
