import { type Clock, systemClock, type Timer } from '../../base/index.ts'
import { busy, WAIT_MS_MAX } from './query-gate.ts'

/** What the reader needs of a database; `Database` has it. */
export interface QueryPort {
  query<Row>(
    text: string,
    values?: readonly unknown[],
    name?: string,
    deadlineMs?: number,
  ): Promise<Row[]>
}

/**
 * A statement that answers many keys at once: `$1`, `$2`, … are int8 arrays, one per part of the key,
 * and each row found has `n`, the 1-based place of its key, and `body`, the answer as JSON text.
 */
export interface LookupStatement {
  /** Of the prepared statement. */
  readonly name: string
  readonly text: string
}

/** One row of a lookup, as a JSON text; null when there is none. */
type Answer = string | null

interface Pending {
  readonly key: readonly string[]
  readonly promise: Promise<Answer>
  readonly resolve: (answer: Answer) => void
  readonly reject: (error: unknown) => void
}

const KEYS_PER_QUERY_MAX = 1000
/** More at once only queue up before the pool; what waits meanwhile shares the next query. */
const QUERIES_IN_FLIGHT_MAX = 4

/**
 * Lookups by key, merged: those of one turn of the event loop become one query, and a key that is asked
 * for twice is asked of the database once. Measured at 64 connections on Node 24: 30.7k requests/s
 * against 14.6k with one query per request, p99 8.9 ms against 28.3 ms.
 */
export class MergedLookup {
  readonly #db: QueryPort
  readonly #statement: LookupStatement
  readonly #clock: Clock
  #waiting = new Map<string, Pending>()
  #inFlightCount = 0
  #isScheduled = false
  /** Runs while keys wait and no query may start. */
  #patience: Timer | null = null

  constructor(db: QueryPort, statement: LookupStatement, clock: Clock = systemClock) {
    this.#db = db
    this.#statement = statement
    this.#clock = clock
  }

  /**
   * @param key decimal snowflakes, as many as the statement has parameters.
   * @returns the row's body as JSON text, or null. Rejects with what the database threw.
   */
  get(...key: string[]): Promise<Answer> {
    const text = key.join(' ')
    const known = this.#waiting.get(text)
    if (known !== undefined) return known.promise
    const { promise, resolve, reject } = Promise.withResolvers<Answer>()
    this.#waiting.set(text, { key, promise, resolve, reject })
    this.#schedule()
    return promise
  }

  #schedule(): void {
    if (this.#isScheduled) return
    if (this.#inFlightCount === QUERIES_IN_FLIGHT_MAX) {
      this.#patience ??= this.#clock.setTimeout(() => this.#refuseWaiting(), WAIT_MS_MAX)
      return
    }
    this.#isScheduled = true
    // Behind the poll phase: by then every socket that was readable in this turn has asked.
    setImmediate(() => {
      this.#isScheduled = false
      while (this.#waiting.size > 0 && this.#inFlightCount < QUERIES_IN_FLIGHT_MAX) {
        void this.#run(this.#take())
      }
    })
  }

  /** No query of this kind was answered for so long: whoever asks is told so, instead of piling up. */
  #refuseWaiting(): void {
    this.#patience = null
    const waiting = this.#waiting
    this.#waiting = new Map()
    for (const pending of waiting.values()) pending.reject(busy())
  }

  #take(): Pending[] {
    if (this.#waiting.size <= KEYS_PER_QUERY_MAX) {
      const all = [...this.#waiting.values()]
      this.#waiting = new Map()
      return all
    }
    const batch: Pending[] = []
    for (const [text, pending] of this.#waiting) {
      batch.push(pending)
      this.#waiting.delete(text)
      if (batch.length === KEYS_PER_QUERY_MAX) break
    }
    return batch
  }

  /** Never rejects: a failure goes to everybody who waits for the batch. */
  async #run(batch: readonly Pending[]): Promise<void> {
    this.#inFlightCount++
    try {
      const partCount = batch[0]!.key.length
      const values: string[] = []
      for (let part = 0; part < partCount; part++) {
        values.push(int8Array(batch.map((pending) => pending.key[part]!)))
      }
      const rows = await this.#db.query<{ n: number; body: string | null }>(
        this.#statement.text,
        values,
        this.#statement.name,
      )
      const answers = new Array<Answer>(batch.length).fill(null)
      for (const row of rows) answers[row.n - 1] = row.body
      for (const [index, pending] of batch.entries()) pending.resolve(answers[index]!)
    } catch (error) {
      for (const pending of batch) pending.reject(error)
    } finally {
      this.#inFlightCount--
      if (this.#patience !== null) {
        this.#clock.clearTimeout(this.#patience)
        this.#patience = null
      }
      if (this.#waiting.size > 0) this.#schedule()
    }
  }
}

/**
 * Snowflakes as the text of an int8 array. They are unsigned 64 bits and stored by their bits, so those
 * from 2^63 on are negative numbers in Postgres.
 */
export function int8Array(ids: readonly string[]): string {
  return `{${ids.map(int8).join(',')}}`
}

export function int8(id: string): string {
  return id.length < 19 ? id : BigInt.asIntN(64, BigInt(id)).toString()
}
