/**
 * Raises the acknowledged sequences of all shards in one statement per second, so that a successor
 * resumes where every destination and the cache had come to; and with them what of it lies in spills.
 */
import { messageOf } from '../base/index.ts'
import type { Clock, Counters, Log, Timer } from '../base/index.ts'
import type { AcknowledgedSequence, SessionStore, SpillHoldings } from './ports.ts'

/** What the saver needs of a shard. */
export interface SequenceSource {
  readonly shardId: number
  unsavedSequence(): AcknowledgedSequence | null
  saved(entry: AcknowledgedSequence): void
  lose(): void
}

const SAVE_INTERVAL_MS = 1000

const NO_SPILLS: SpillHoldings = { unsaved: () => [], saved: () => undefined }

export class SequenceSaver {
  readonly #clock: Clock
  readonly #log: Log
  readonly #sessions: SessionStore
  readonly #sources: () => Iterable<SequenceSource>
  readonly #spills: SpillHoldings
  readonly #failures: { value: number }
  #timer: Timer | undefined
  #isFailing = false
  #inFlight: Promise<void> | null = null

  constructor(deps: {
    readonly clock: Clock
    readonly log: Log
    readonly counters: Counters
    readonly sessions: SessionStore
    readonly sources: () => Iterable<SequenceSource>
    readonly spills?: SpillHoldings | undefined
  }) {
    this.#spills = deps.spills ?? NO_SPILLS
    this.#clock = deps.clock
    this.#log = deps.log
    this.#sessions = deps.sessions
    this.#sources = deps.sources
    this.#failures = deps.counters.counter('gateway_sequence_save_failures_total')
  }

  start(): void {
    this.#timer = this.#clock.setTimeout(() => {
      void this.save().finally(() => {
        if (this.#timer !== undefined) this.start()
      })
    }, SAVE_INTERVAL_MS)
  }

  stop(): void {
    this.#clock.clearTimeout(this.#timer)
    this.#timer = undefined
  }

  /** Saves now what has changed. Never rejects: what failed is saved the next time. */
  async save(): Promise<void> {
    await this.#inFlight
    this.#inFlight = this.#saveOnce()
    await this.#inFlight
    this.#inFlight = null
  }

  async #saveOnce(): Promise<void> {
    const entries: AcknowledgedSequence[] = []
    const sources = new Map<number, SequenceSource>()
    for (const source of this.#sources()) {
      const entry = source.unsavedSequence()
      if (entry === null) continue
      entries.push(entry)
      sources.set(entry.shardId, source)
    }
    // Of the same tick: what an acknowledgement rests on is never saved behind it.
    const spills = this.#spills.unsaved()
    if (entries.length === 0 && spills.length === 0) return
    try {
      const lost = new Set(await this.#sessions.saveAcknowledged(entries, spills))
      this.#spills.saved(spills)
      for (const entry of entries) {
        const source = sources.get(entry.shardId)
        if (lost.has(entry.shardId)) source?.lose()
        else source?.saved(entry)
      }
      if (this.#isFailing) this.#log.info('acknowledged sequences are saved again')
      this.#isFailing = false
    } catch (error) {
      this.#failures.value++
      if (!this.#isFailing) {
        const fields = { shards: entries.length, error: messageOf(error) }
        this.#log.warn('acknowledged sequences could not be saved', fields)
      }
      this.#isFailing = true
    }
  }
}
