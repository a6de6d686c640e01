/**
 * Gaps: events that are lost for good. Counted by cause and named in one log line each, never silent.
 * A refused session is one gap; single drops of a full queue are joined into ranges first.
 */
import type { Clock, Counters, Log, Timer } from '../base/index.ts'

export interface Gap {
  readonly shardId: number
  readonly sessionId: string
  /** First lost sequence. */
  readonly from: number
  /** Last lost sequence; null where only Discord knows it. */
  readonly to: number | null
  /** Lost ones from `from` to `to`. Default: all. */
  readonly events?: number
  /** `session_refused`, `queue_full`, `cache_full`, `poison_frame` …: docs/metrics.md. */
  readonly cause: string
  /** The destination that lost it; '' when all did. */
  readonly destination?: string
}

/** A range of drops is logged when none was added to it for this long. */
const RANGE_QUIET_MS = 1000

interface OpenRange {
  readonly shardId: number
  readonly sessionId: string
  readonly cause: string
  readonly destination: string
  readonly from: number
  to: number
  events: number
}

export class Gaps {
  readonly #clock: Clock
  readonly #log: Log
  readonly #counters: Counters
  readonly #onLost: (shardId: number) => void
  readonly #open = new Map<string, OpenRange>()
  #timer: Timer | undefined
  #droppedSinceTick = false

  constructor(deps: {
    readonly clock: Clock
    readonly log: Log
    readonly counters: Counters
    /** Told of each gap of a shard that every destination and the cache have. */
    readonly onLost?: (shardId: number) => void
  }) {
    this.#onLost = deps.onLost ?? (() => undefined)
    this.#clock = deps.clock
    this.#log = deps.log
    this.#counters = deps.counters
  }

  /** One known gap: one line. */
  gap(gap: Gap): void {
    if ((gap.destination ?? '') === '') this.#onLost(gap.shardId)
    this.#counters.counter('gateway_gaps_total', { cause: gap.cause }).value++
    if (gap.to !== null) {
      this.#counters.counter('gateway_gap_events_total', { cause: gap.cause }).value +=
        gap.events ?? gap.to - gap.from + 1
    }
    this.#log.warn('gap: events are lost', {
      shardId: gap.shardId,
      sessionId: gap.sessionId,
      from: gap.from,
      to: gap.to,
      ...(gap.events === undefined ? {} : { events: gap.events }),
      cause: gap.cause,
      destination: gap.destination ?? '',
    })
  }

  /** One dropped event; neighbours of one cause become one line. */
  drop(drop: {
    readonly shardId: number
    readonly sessionId: string
    readonly sequence: number
    readonly cause: string
    readonly destination: string
  }): void {
    if (drop.destination === '') this.#onLost(drop.shardId)
    const key = `${drop.shardId} ${drop.cause} ${drop.destination}`
    const range = this.#open.get(key)
    if (range !== undefined && range.sessionId === drop.sessionId && drop.sequence >= range.to) {
      range.to = drop.sequence
      range.events++
    } else {
      if (range !== undefined) this.#close(key, range)
      this.#open.set(key, {
        shardId: drop.shardId,
        sessionId: drop.sessionId,
        cause: drop.cause,
        destination: drop.destination,
        from: drop.sequence,
        to: drop.sequence,
        events: 1,
      })
    }
    this.#droppedSinceTick = true
    this.#timer ??= this.#clock.setTimeout(this.#tick, RANGE_QUIET_MS)
  }

  /** Logs what is still open; at the end of the process. */
  flush(): void {
    this.#clock.clearTimeout(this.#timer)
    this.#timer = undefined
    for (const [key, range] of this.#open) this.#close(key, range)
  }

  readonly #tick = (): void => {
    this.#timer = undefined
    if (this.#droppedSinceTick) {
      this.#droppedSinceTick = false
      this.#timer = this.#clock.setTimeout(this.#tick, RANGE_QUIET_MS)
    } else {
      this.flush()
    }
  }

  #close(key: string, range: OpenRange): void {
    this.#open.delete(key)
    this.#counters.counter('gateway_gaps_total', { cause: range.cause }).value++
    this.#counters.counter('gateway_gap_events_total', { cause: range.cause }).value += range.events
    this.#log.warn('gap: events are lost', {
      shardId: range.shardId,
      sessionId: range.sessionId,
      from: range.from,
      to: range.to,
      events: range.events,
      cause: range.cause,
      destination: range.destination,
    })
  }
}
