/**
 * Identify permits within one process. One identify per rate limit key (shardId % maxConcurrency) in 5 s,
 * the next one only when the last is settled by READY, op 9 or a timeout; buckets in order, so all of
 * 0 … max-1 before max … 2·max-1. See [Discord Docs/Gateway#sharding-max-concurrency].
 *
 *   key 0   shard 0 ▓▓▓READY▒▒▒|shard 4 ▓▓▓…        ▓ held by the shard   ▒ rest of the 5 s
 *   key 1   shard 1 ▓▓▓▓▓▓▓READY|shard 5 ▓▓…
 */
import type { Clock, Counters, Log, Timer } from '../base/index.ts'
import { messageOf } from '../base/index.ts'
import { IDENTIFY_WINDOW_MS } from '../discord/index.ts'
import type { IdentifyGate, IdentifyLog, IdentifyPermit, IdentifyWhy } from '../shard/index.ts'
import { ClusterError } from './errors.ts'
import type { Allowed, IdentifyBudget, Verdict } from './identify-budget.ts'

export interface MemoryIdentifyGateOptions {
  /** From GET /gateway/bot. */
  readonly maxConcurrency: number
  readonly budget: IdentifyBudget
  readonly identifyLog: IdentifyLog
  /** Name of this worker, stored with each identify. */
  readonly worker: string
  readonly clock: Clock
  readonly log: Log
  readonly counters: Counters
}

interface Waiter {
  readonly shardId: number
  readonly resolve: (permit: IdentifyPermit) => void
}

/** Discord measures its 5 s where the IDENTIFY arrives: jitter of the network needs some air. */
const WINDOW_MARGIN_MS = 250
/** A row's time is taken before it is committed, and the IDENTIFY leaves after that. */
const EARLIER_MARGIN_MS = 1000
/** Shards that start together ask within this time; granting waits for it so that the order holds. */
const GATHER_MS = 20
/** The store is away: asked again after this long. */
const UNKNOWN_RETRY_MS = 2000
/** How often a stopped gate says so. */
const LOUD_INTERVAL_MS = 60_000

export class MemoryIdentifyGate implements IdentifyGate {
  readonly #options: MemoryIdentifyGateOptions
  readonly #waiting: Waiter[] = []
  /** By key: monotonic time from which it is free; Infinity while a permit is held. */
  readonly #freeAt = new Map<number, number>()
  #timer: Timer | undefined
  #timerAt = Number.POSITIVE_INFINITY
  #isGranting = false
  /** Permits whose identify is not recorded yet: the budget knows nothing of them. */
  #promised = 0
  /** The identifies of earlier processes are in #freeAt. */
  #knowsEarlier = false
  #stoppedBy = ''
  #lastSaidAt = Number.NEGATIVE_INFINITY

  constructor(options: MemoryIdentifyGateOptions) {
    this.#options = options
    const { counters, budget } = options
    counters.gauge('gateway_identifies_waiting', () => this.#waiting.length)
    counters.gauge('gateway_identify_permits', () => {
      let held = 0
      for (const freeAt of this.#freeAt.values()) if (freeAt === Number.POSITIVE_INFINITY) held++
      return held
    })
    counters.gauge('gateway_identifies_remaining', () => budget.remaining)
    counters.gauge('gateway_identifies_stopped', () => (this.#stoppedBy === '' ? 0 : 1))
  }

  acquire(shardId: number, signal: AbortSignal): Promise<IdentifyPermit> {
    return new Promise((resolve, reject) => {
      if (signal.aborted) {
        reject(signal.reason as Error)
        return
      }
      const waiter: Waiter = {
        shardId,
        resolve: (permit) => {
          signal.removeEventListener('abort', onAbort)
          resolve(permit)
        },
      }
      const onAbort = (): void => {
        const index = this.#waiting.indexOf(waiter)
        if (index === -1) return
        this.#waiting.splice(index, 1)
        // The budget and the breaker were asked for the shards that wait; of others nothing is known.
        if (this.#waiting.length === 0) this.#stoppedBy = ''
        reject(signal.reason as Error)
        this.#wake(0)
      }
      signal.addEventListener('abort', onAbort, { once: true })
      const index = this.#waiting.findIndex((other) => other.shardId > shardId)
      this.#waiting.splice(index === -1 ? this.#waiting.length : index, 0, waiter)
      this.#wake(GATHER_MS)
    })
  }

  /** An operator has let identifies pass: whoever waits for the budget or the breaker is looked at again. */
  lookAgain(): void {
    this.#wake(0)
  }

  /** Shards that wait, and what stops them: '' for nothing. */
  report(): { waiting: number; stoppedBy: string } {
    return { waiting: this.#waiting.length, stoppedBy: this.#stoppedBy }
  }

  /** Looks for shards to grant in `ms`, or earlier if that was planned already. */
  #wake(ms: number): void {
    const at = this.#options.clock.monotonic() + ms
    if (at >= this.#timerAt) return
    this.#options.clock.clearTimeout(this.#timer)
    this.#timerAt = at
    this.#timer = this.#options.clock.setTimeout(() => {
      this.#timer = undefined
      this.#timerAt = Number.POSITIVE_INFINITY
      void this.#grant()
    }, ms)
  }

  async #grant(): Promise<void> {
    // One at a time: what is granted while the store is asked must be counted by the next question.
    if (this.#isGranting) {
      this.#wake(GATHER_MS)
      return
    }
    this.#isGranting = true
    try {
      if (this.#waiting.length > 0 && !(await this.#readEarlier())) return
      for (;;) {
        const waiter = this.#next()
        if (waiter === undefined) return
        const verdict = await this.#ask(waiter.shardId)
        if (verdict === null) return
        const index = this.#waiting.indexOf(waiter)
        if (index === -1) continue
        this.#waiting.splice(index, 1)
        waiter.resolve(this.#permit(waiter.shardId, verdict.isByOperator))
      }
    } finally {
      this.#isGranting = false
    }
  }

  /**
   * Keys that an earlier process used in the last seconds are not free yet: Discord would answer op 9, and
   * the identify would be spent. Nothing is granted until this could be read.
   */
  async #readEarlier(): Promise<boolean> {
    if (this.#knowsEarlier) return true
    const { identifyLog, clock, maxConcurrency } = this.#options
    const windowMs = IDENTIFY_WINDOW_MS + EARLIER_MARGIN_MS
    try {
      for (const { shardId, atMs } of await identifyLog.recent(clock.now() - windowMs)) {
        // A wall clock that jumped must not hold a key for longer than its window.
        const restMs = Math.min(windowMs, Math.max(0, atMs + windowMs - clock.now()))
        const key = shardId % maxConcurrency
        const freeAt = clock.monotonic() + restMs
        this.#freeAt.set(key, Math.max(freeAt, this.#freeAt.get(key) ?? 0))
      }
    } catch (error) {
      this.#stop('unknown', UNKNOWN_RETRY_MS, { error: messageOf(error) })
      return false
    }
    this.#knowsEarlier = true
    return true
  }

  /** The lowest waiting shard whose key is free, within the lowest bucket that waits. */
  #next(): Waiter | undefined {
    const first = this.#waiting[0]
    if (first === undefined) return undefined
    const { maxConcurrency, clock } = this.#options
    const bucket = Math.floor(first.shardId / maxConcurrency)
    const now = clock.monotonic()
    let soonest = Number.POSITIVE_INFINITY
    for (const waiter of this.#waiting) {
      if (Math.floor(waiter.shardId / maxConcurrency) !== bucket) break
      const freeAt = this.#freeAt.get(waiter.shardId % maxConcurrency) ?? 0
      if (freeAt <= now) return waiter
      soonest = Math.min(soonest, freeAt)
    }
    if (soonest !== Number.POSITIVE_INFINITY) this.#wake(soonest - now)
    return undefined
  }

  /** Null: nothing is granted now, and it was said why. */
  async #ask(shardId: number): Promise<Allowed | null> {
    const { budget, log } = this.#options
    let verdict: Verdict
    try {
      verdict = await budget.verdict(shardId, this.#promised)
      if (!verdict.isAllowed) {
        this.#stop(verdict.cause, verdict.retryMs, verdict.fields)
        return null
      }
    } catch (error) {
      this.#stop('unknown', UNKNOWN_RETRY_MS, { error: messageOf(error) })
      return null
    }
    if (this.#stoppedBy !== '') log.info('identifies go on')
    this.#stoppedBy = ''
    return verdict
  }

  /** Says why nothing is granted, and looks again later. */
  #stop(cause: string, retryMs: number, fields: Readonly<Record<string, unknown>>): void {
    const { clock, log, counters } = this.#options
    if (this.#stoppedBy !== cause) {
      counters.counter('gateway_identify_stops_total', { cause }).value++
      this.#lastSaidAt = Number.NEGATIVE_INFINITY
    }
    this.#stoppedBy = cause
    if (clock.monotonic() - this.#lastSaidAt >= LOUD_INTERVAL_MS) {
      this.#lastSaidAt = clock.monotonic()
      log.error('identifies are stopped', { cause, waiting: this.#waiting.length, ...fields })
    }
    this.#wake(retryMs)
  }

  #permit(shardId: number, isByOperator: boolean): IdentifyPermit {
    const { maxConcurrency, clock, identifyLog, worker, budget } = this.#options
    const key = shardId % maxConcurrency
    this.#freeAt.set(key, Number.POSITIVE_INFINITY)
    let committedAt = Number.NEGATIVE_INFINITY
    let isReleased = false
    let isPromised = true
    this.#promised++
    const settlePromise = (): void => {
      if (isPromised) this.#promised--
      isPromised = false
    }
    return {
      commit: async (why: IdentifyWhy) => {
        if (isReleased) throw released(shardId)
        // While it waited for the key in etcd other workers have identified.
        if (!isByOperator && !(await budget.verdict(shardId, this.#promised - 1)).isAllowed) {
          throw notAllowed(shardId)
        }
        if (isReleased) throw released(shardId)
        await identifyLog.record({ shardId, atMs: clock.now(), worker, why })
        budget.spend()
        settlePromise()
        // Given back meanwhile: recorded but never sent, which errs on the safe side.
        if (isReleased) throw released(shardId)
        // The caller sends in this tick; its 5 s begin now.
        committedAt = clock.monotonic()
      },
      release: () => {
        if (isReleased) return
        isReleased = true
        settlePromise()
        const now = clock.monotonic()
        const freeAt = Math.max(now, committedAt + IDENTIFY_WINDOW_MS + WINDOW_MARGIN_MS)
        this.#freeAt.set(key, freeAt)
        this.#wake(freeAt - now)
      },
    }
  }
}

function released(shardId: number): ClusterError {
  const message = `The identify permit of shard ${shardId} was given back before it was used.`
  return new ClusterError('CLUSTER_PERMIT_LOST', message, { shardId }, { retryable: true })
}

function notAllowed(shardId: number): ClusterError {
  const message = `The identify of shard ${shardId} is not allowed any more: reserve or breaker were reached while its permit waited.`
  return new ClusterError('CLUSTER_PERMIT_LOST', message, { shardId }, { retryable: true })
}
