import type { Redis } from 'ioredis'
import type { Clock, Log, Timer } from '../../base/index.ts'

export interface WatermarkLimits {
  /** Entries of one list; 0: no limit. */
  readonly entriesMax: number
  /** Their bytes, reckoned by the mean of what was pushed. */
  readonly bytesMax: number
}

const SAMPLE_MS = 1000
const REPEAT_LOG_MS = 60_000
/** Weight of a flush in the mean of the payloads' bytes. */
const MEAN_WEIGHT = 0.1

interface OverList {
  readonly key: string
  droppedEvents: number
  saidAtMs: number
}

/**
 * Lists that nobody reads. RPUSH answers a list's length; from the watermark on the list gets nothing more until
 * its consumers have brought it below half, which LLEN is asked for once a second.
 */
export class ListWatermark {
  readonly #limits: WatermarkLimits
  readonly #client: Redis
  readonly #clock: Clock
  readonly #log: Log
  readonly #onBelow: () => void
  /** By channel. */
  readonly #meanBytes: number[] = []
  readonly #over = new Map<number, OverList>()
  #timer: Timer | undefined

  constructor(deps: {
    readonly limits: WatermarkLimits
    readonly client: Redis
    readonly clock: Clock
    readonly log: Log
    /** A list takes events again. */
    readonly onBelow: () => void
  }) {
    this.#limits = deps.limits
    this.#client = deps.client
    this.#clock = deps.clock
    this.#log = deps.log
    this.#onBelow = deps.onBelow
  }

  isOver(channel: number): boolean {
    return this.#over.size > 0 && this.#over.has(channel)
  }

  /** A flush put `count` events of `bytes` into the list, which has this length now. */
  observe(channel: number, key: string, length: unknown, count: number, bytes: number): void {
    const { entriesMax } = this.#limits
    if (entriesMax === 0 || typeof length !== 'number') return
    const mean = bytes / count
    const before = this.#meanBytes[channel] ?? mean
    this.#meanBytes[channel] = before + (mean - before) * MEAN_WEIGHT
    if (this.#fill(channel, length) < 1 || this.#over.has(channel)) return
    const over: OverList = { key, droppedEvents: 0, saidAtMs: this.#clock.monotonic() }
    this.#over.set(channel, over)
    this.#say(channel, over, length)
    this.#timer ??= this.#clock.setTimeout(this.#sample, SAMPLE_MS)
  }

  /** An event of a list that is over was dropped. */
  dropped(channel: number): void {
    const over = this.#over.get(channel)
    if (over !== undefined) over.droppedEvents++
  }

  close(): void {
    this.#clock.clearTimeout(this.#timer)
  }

  /** 1 = at the watermark. */
  #fill(channel: number, length: number): number {
    const { entriesMax, bytesMax } = this.#limits
    return Math.max(length / entriesMax, (length * (this.#meanBytes[channel] ?? 0)) / bytesMax)
  }

  readonly #sample = (): void => {
    this.#timer = undefined
    const asked = [...this.#over].map(async ([channel, over]) => {
      const length = await this.#client.llen(over.key).catch(() => null)
      if (length === null) return
      if (this.#fill(channel, length) < 0.5) {
        this.#over.delete(channel)
        const { key, droppedEvents } = over
        this.#log.info('redis: a list is read again and takes events', {
          key,
          length,
          droppedEvents,
        })
        this.#onBelow()
      } else if (this.#clock.monotonic() - over.saidAtMs >= REPEAT_LOG_MS) {
        over.saidAtMs = this.#clock.monotonic()
        this.#say(channel, over, length)
      }
    })
    void Promise.all(asked).then(() => {
      if (this.#over.size > 0) this.#timer ??= this.#clock.setTimeout(this.#sample, SAMPLE_MS)
    })
  }

  #say(channel: number, { key, droppedEvents }: OverList, length: number): void {
    this.#log.error('redis: nobody reads a list, it gets no more events until it is below half', {
      key,
      length,
      bytes: Math.round(length * (this.#meanBytes[channel] ?? 0)),
      droppedEvents,
      cure: 'Start its consumers, take the event from the list of events to push, or raise -queue-max.',
    })
  }
}
