import type { Clock } from '../../base/index.ts'
import { CacheError } from '../errors.ts'
import type { QueryPort } from './merged-lookup.ts'

/** As many as the pool of `state` has connections. */
const QUERIES_MAX = 8
/** Beyond it a query is refused at once: what would wait longer than WAIT_MS_MAX need not wait at all. */
const WAITING_MAX = 1024
/** So long a query waits for its turn before it is refused. */
export const WAIT_MS_MAX = 5000
/** Longer than the server's statement timeout: a page of a large guild may take long, a dead host forever. */
const DEADLINE_MS = 12_000

interface Waiting {
  readonly start: () => void
  readonly refuse: (error: CacheError) => void
  readonly since: number
}

/** Bounds the queries under way and those that wait, so that a slow database is refused, not piled up on. */
export class QueryGate implements QueryPort {
  readonly #database: QueryPort
  readonly #clock: Clock
  readonly #waiting = new Set<Waiting>()
  #running = 0
  #isTimed = false

  constructor(database: QueryPort, clock: Clock) {
    this.#database = database
    this.#clock = clock
  }

  /** @throws CacheError CACHE_BUSY, and what the database threw. */
  async query<Row>(text: string, values?: readonly unknown[], name?: string): Promise<Row[]> {
    if (this.#running >= QUERIES_MAX) await this.#turn()
    else this.#running++
    try {
      return await this.#database.query<Row>(text, values, name, DEADLINE_MS)
    } finally {
      const [next] = this.#waiting
      if (next === undefined) this.#running--
      else {
        // Its place is handed on: the count stays.
        this.#waiting.delete(next)
        next.start()
      }
    }
  }

  #turn(): Promise<void> {
    if (this.#waiting.size >= WAITING_MAX) return Promise.reject(busy())
    return new Promise((resolve, reject) => {
      const since = this.#clock.monotonic()
      this.#waiting.add({ start: resolve, refuse: reject, since })
      this.#watch()
    })
  }

  /** One timer for all that wait. */
  #watch(): void {
    const [oldest] = this.#waiting
    if (this.#isTimed || oldest === undefined) return
    this.#isTimed = true
    const waitMs = Math.max(1, oldest.since + WAIT_MS_MAX - this.#clock.monotonic())
    this.#clock.setTimeout(() => {
      this.#isTimed = false
      const limit = this.#clock.monotonic() - WAIT_MS_MAX
      for (const waiting of this.#waiting) {
        if (waiting.since > limit) break
        this.#waiting.delete(waiting)
        waiting.refuse(busy())
      }
      this.#watch()
    }, waitMs)
  }
}

export function busy(): CacheError {
  return new CacheError(
    'CACHE_BUSY',
    'The database is slower than it is asked; the query was not sent.',
    {},
    { retryable: true },
  )
}
