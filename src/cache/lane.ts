/**
 * One ordered lane of writes: an open batch that takes events, and one transaction in flight.
 *
 *   events ──► open batch ──(a few ms, or full)──► queue ──► transaction ──► settled
 *                                                   ▲            │ fails: pause, again
 *                                                   └────────────┘
 * While the database is away the open batch goes on joining rows, up to the lane's bound.
 */
import {
  backoffMs,
  type Clock,
  type Counters,
  type Histogram,
  type Log,
  messageOf,
  type Random,
  type Timer,
} from '../base/index.ts'
import type { StateKind } from '../discord/index.ts'
import { ArenaPool } from './arena-pool.ts'
import { Batch } from './batch.ts'
import { BatchStatements, type PoisonRow } from './batch-statements.ts'
import { type BatchResult, commitBatch, isDataError } from './batch-transaction.ts'
import type { Connection } from './database.ts'
import type { Fence } from './fences.ts'

/** From the first event of a batch to its transaction: long enough to join, short against the round trips. */
const FLUSH_DELAY_MS = 5
/** A batch of so many events, or so many bytes of them, leaves at once. */
const FLUSH_EVENTS = 1000
const FLUSH_BYTES = 1024 * 1024
/** The bound is looked at once in so many events: it is a sum over tables. */
const EVENTS_PER_CHECK = 32
const BYTES_PER_CHECK = 256 * 1024
/** An open batch of this many rows is closed: a transaction holds up take-overs, and sorting stalls the loop. */
const BATCH_ROWS_MAX = 8000
/** A transaction that is not through after this long: pushes stop waiting for it. */
const AWAY_AFTER_MS = 2000
const RETRY = { baseMs: 50, maxMs: 5000 } as const

const BATCH_ROWS = [1, 10, 100, 1000, 5000, 20_000]
const COMMIT_SECONDS = [0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10]

export interface LaneLimits {
  readonly rowsMax: number
  readonly bytesMax: number
}

export interface LaneDeps {
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  readonly counters: Counters
  readonly connect: () => Promise<Connection>
  readonly fleetName: string
  /** Kinds of state whose rows are written. */
  readonly kept: ReadonlySet<StateKind>
  readonly rowsPerStatementMax: number
  readonly limits: LaneLimits
  /** Batches up to this ticket are committed, or dropped and counted. */
  readonly onSettled: (ticket: number) => void
  readonly onAway: (isAway: boolean) => void
  readonly onLost: (shardId: number, fence: Fence | undefined) => void
  readonly onPoison: (row: PoisonRow, batch: Batch) => void
}

export class Lane {
  readonly #deps: LaneDeps
  readonly #statements: BatchStatements
  readonly #arenas = new ArenaPool()
  #open: Batch
  /** Closed and not yet settled, oldest first; the first is in flight. */
  readonly #closed: Batch[] = []
  #isEmpty = true
  /** The open batch has waited long enough, or is full, or somebody waits for it. */
  #isDue = false
  #openEvents = 0
  #openBytes = 0
  #uncheckedEvents = 0
  #uncheckedBytes = 0
  #hasRoom = true
  #isLarge = false
  #isRunning = false
  #isAway = false
  #timer: Timer | undefined
  #awayTimer: Timer | undefined
  #waiting: { readonly ticket: number; readonly resolve: () => void }[] = []
  #connection: Promise<Connection> | null = null
  readonly #stopped = new AbortController()
  readonly #batchRows: Histogram
  readonly #commitSeconds: Histogram

  constructor(deps: LaneDeps) {
    this.#deps = deps
    const { counters } = deps
    this.#batchRows = counters.histogram('gateway_cache_batch_rows', BATCH_ROWS)
    this.#commitSeconds = counters.histogram('gateway_cache_commit_seconds', COMMIT_SECONDS)
    this.#open = new Batch(1, deps.kept, this.#arenas)
    this.#statements = new BatchStatements({ rowsPerStatementMax: deps.rowsPerStatementMax })
  }

  /** The open batch; whoever takes it adds to it. A claim that changed in between begins another one. */
  take(shardId: number, fence: Fence | undefined): Batch {
    const span = this.#open.shards.get(shardId)
    if (this.#isLarge || (span !== undefined && span.fence !== fence)) this.#close()
    if (this.#isEmpty) {
      this.#isEmpty = false
      this.#isDue = false
      this.#timer = this.#deps.clock.setTimeout(this.#onTimer, FLUSH_DELAY_MS)
    }
    return this.#open
  }

  /**
   * Notes an event of so many bytes before its rows are added.
   *
   * @returns whether there is room for them.
   */
  admit(bytes: number): boolean {
    this.#openEvents++
    this.#openBytes += bytes
    this.#uncheckedEvents++
    this.#uncheckedBytes += bytes
    if (this.#uncheckedEvents >= EVENTS_PER_CHECK || this.#uncheckedBytes >= BYTES_PER_CHECK) {
      const { rowsMax, bytesMax } = this.#deps.limits
      this.#hasRoom = this.rowCount < rowsMax && this.byteCount < bytesMax
      this.#isLarge = this.#open.rowCount >= BATCH_ROWS_MAX
      this.#uncheckedEvents = 0
      this.#uncheckedBytes = 0
    }
    return this.#hasRoom
  }

  /** After an event was added: a full batch does not wait for its time. */
  added(): void {
    if (!this.#isDue && this.#isFull) this.#due()
  }

  get #isFull(): boolean {
    return this.#openEvents >= FLUSH_EVENTS || this.#openBytes >= FLUSH_BYTES
  }

  /** Whether a transaction has been on its way for so long that pushes no longer wait for it. */
  get isAway(): boolean {
    return this.#isAway
  }

  /** Rows that wait or are on their way. */
  get rowCount(): number {
    let count = this.#open.rowCount
    for (const batch of this.#closed) count += batch.rowCount
    return count
  }

  get byteCount(): number {
    let bytes = this.#open.byteCount
    for (const batch of this.#closed) bytes += batch.byteCount
    return bytes
  }

  /** Resolves when everything that was added so far is settled. */
  flush(): Promise<void> {
    const last = this.#isEmpty ? this.#closed.at(-1) : this.#open
    if (last === undefined) return Promise.resolve()
    return new Promise((resolve) => {
      this.#waiting.push({ ticket: last.ticket, resolve })
      if (!this.#isEmpty) this.#due()
    })
  }

  /** Gives up what is not settled. */
  async stop(): Promise<void> {
    this.#stopped.abort()
    this.#deps.clock.clearTimeout(this.#timer)
    this.#deps.clock.clearTimeout(this.#awayTimer)
    await (await this.#connection?.catch(() => null))?.close()
  }

  readonly #onTimer = (): void => {
    this.#timer = undefined
    this.#due()
  }

  #due(): void {
    this.#isDue = true
    this.#run()
  }

  #close(): void {
    if (this.#isEmpty) return
    this.#closed.push(this.#open)
    this.#open = new Batch(this.#open.ticket + 1, this.#deps.kept, this.#arenas)
    this.#isEmpty = true
    this.#isDue = false
    this.#isLarge = false
    this.#openEvents = 0
    this.#openBytes = 0
    this.#deps.clock.clearTimeout(this.#timer)
    this.#timer = undefined
  }

  #run(): void {
    if (this.#isRunning || this.#stopped.signal.aborted) return
    this.#isRunning = true
    this.#loop().catch(async (error: unknown) => {
      // Nothing in the loop throws; if it does, the lane says so and goes on: shards do, too.
      this.#deps.log.error('cache lane failed, it goes on', { error: messageOf(error) })
      await this.#pause(RETRY.maxMs, this.#stopped.signal)
      this.#run()
    })
  }

  async #loop(): Promise<void> {
    const { signal } = this.#stopped
    try {
      for (;;) {
        if (this.#closed.length === 0 && this.#isDue) this.#close()
        const batch = this.#closed[0]
        if (batch === undefined) break
        const result = await this.#commit(batch, signal)
        if (result === null) return
        this.#closed.shift()
        this.#hasRoom = true
        this.#settle(batch, result)
        batch.release()
      }
    } finally {
      this.#isRunning = false
    }
  }

  /** Until it is committed. Null: stopped. */
  async #commit(batch: Batch, signal: AbortSignal): Promise<BatchResult | null> {
    const { clock, random, log, counters } = this.#deps
    this.#awayTimer ??= clock.setTimeout(this.#onAwayTimer, AWAY_AFTER_MS)
    const { fleetName } = this.#deps
    let isolated = false
    for (let attempt = 0; ; attempt++) {
      try {
        const startedAt = clock.monotonic()
        const result = await commitBatch(batch, isolated, {
          connection: await this.#connect(),
          fleetName,
          statements: this.#statements,
        })
        this.#commitSeconds.observe((clock.monotonic() - startedAt) / 1000)
        return result
      } catch (error) {
        if (signal.aborted) return null
        if (isDataError(error) && !isolated) {
          isolated = true
          continue
        }
        counters.counter('gateway_cache_retries_total').value++
        const waitMs = backoffMs(attempt, random, RETRY)
        const fields = { error: messageOf(error), attempt: attempt + 1, waitMs }
        if (attempt === 0) log.warn('cache write failed, trying again', fields)
        else log.debug('cache write failed again', fields)
        await this.#pause(waitMs, signal)
        if (signal.aborted) return null
      }
    }
  }

  /** A connection that could not be made is made anew by the next attempt. */
  async #connect(): Promise<Connection> {
    this.#connection ??= this.#deps.connect()
    try {
      return await this.#connection
    } catch (error) {
      this.#connection = null
      throw error
    }
  }

  readonly #onAwayTimer = (): void => {
    this.#awayTimer = undefined
    this.#isAway = true
    this.#deps.log.warn('database is away: events leave without waiting for it')
    this.#tell('onAway', () => this.#deps.onAway(true))
  }

  #settle(batch: Batch, result: BatchResult): void {
    const { clock, counters, log, onAway, onLost, onPoison, onSettled } = this.#deps
    clock.clearTimeout(this.#awayTimer)
    this.#awayTimer = undefined
    counters.counter('gateway_cache_batches_total').value++
    counters.counter('gateway_cache_rows_total').value += result.rows
    counters.counter('gateway_cache_rows_unchanged_total').value += result.unchangedRows
    this.#batchRows.observe(result.rows)
    for (const shardId of result.lost) {
      this.#tell('onLost', () => onLost(shardId, batch.shards.get(shardId)?.fence))
    }
    for (const row of result.poison) this.#tell('onPoison', () => onPoison(row, batch))
    this.#tell('onSettled', () => onSettled(batch.ticket))
    while (this.#waiting[0] !== undefined && this.#waiting[0].ticket <= batch.ticket) {
      this.#waiting.shift()?.resolve()
    }
    if (this.#isAway) {
      this.#isAway = false
      log.info('database is back')
      this.#tell('onAway', () => onAway(false))
    }
  }

  /** What a listener throws is its own fault: the rows are committed, and the next batch must not wait for it. */
  #tell(callback: string, call: () => void): void {
    try {
      call()
    } catch (error) {
      this.#deps.log.error('listener of the cache failed', {
        callback,
        error: messageOf(error),
        stack: error instanceof Error ? error.stack : undefined,
      })
    }
  }

  #pause(ms: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const timer = this.#deps.clock.setTimeout(done, ms)
      const { clock } = this.#deps
      function done(): void {
        clock.clearTimeout(timer)
        signal.removeEventListener('abort', done)
        resolve()
      }
      signal.addEventListener('abort', done, { once: true })
    })
  }
}
