import type { EventQueue } from '../event-queue.ts'
import type { KeyForm } from './key-form.ts'
import type { KeyTable } from './key-table.ts'

/** Each key's turn in a flush, so that one busy key does not keep the others waiting. */
const TURN_EVENTS = 32
const WIRE_BYTES_MIN = 64 * 1024
/** What the wire buffer may keep of a large flush. */
const WIRE_BYTES_KEPT_MAX = 4 * 1024 * 1024

/**
 * What one flush takes: some keys, and of each the first events that are ready.
 *
 *   key A  ■■■■■■■■│········      turns of 32 events, round and round, until the flush is full;
 *   key B  ■■■│                   a key that was refused is probed with one event, one that waits for
 *   key C  ■│····                 its next try is left out
 */
export class FlushBatch {
  readonly #queue: EventQueue
  readonly #keys: KeyTable
  readonly #form: KeyForm
  readonly #channels: number[] = []
  readonly #counts: number[] = []
  readonly #cursors: number[] = []
  readonly #lasts: number[] = []
  #turn = 0
  #wire = Buffer.allocUnsafeSlow(WIRE_BYTES_MIN)
  #payloadBytes = 0
  /** When the first of the keys that were left out may be tried again; infinite for none. */
  retryAtMs = Number.POSITIVE_INFINITY
  /** What the flush left behind though it had room. */
  stuckEvents = 0
  stuckBytes = 0

  constructor(queue: EventQueue, keys: KeyTable, form: KeyForm) {
    this.#queue = queue
    this.#keys = keys
    this.#form = form
  }

  /** Keys in the batch. */
  get size(): number {
    return this.#channels.length
  }

  channel(index: number): number {
    return this.#channels[index]!
  }

  /** Events of the key in this batch. */
  count(index: number): number {
    return this.#counts[index]!
  }

  /** Chooses what the next flush takes: at most `eventsMax`, and no more once `bytesMax` are reached. */
  choose(nowMs: number, eventsMax: number, bytesMax: number): void {
    const queue = this.#queue
    const keys = this.#keys
    this.#chooseKeys(nowMs)
    let events = 0
    let bytes = 0
    for (let isMore = true; isMore && events < eventsMax && bytes < bytesMax; ) {
      isMore = false
      for (let index = 0; index < this.#channels.length; index++) {
        const isProbe = keys.attempts(this.#channels[index]!) > 0
        const turnEvents = isProbe ? 1 - this.#counts[index]! : TURN_EVENTS
        let slot = this.#cursors[index]!
        let taken = 0
        while (slot !== -1 && taken < turnEvents && events < eventsMax && bytes < bytesMax) {
          bytes += queue.lengthOf(slot)
          events++
          taken++
          this.#lasts[index] = slot
          slot = queue.next(slot)
        }
        this.#cursors[index] = slot
        this.#counts[index]! += taken
        if (taken > 0) isMore = true
      }
    }
    this.#leaveOutEmpty()
    for (const [index, channel] of this.#channels.entries()) {
      queue.pin(channel, this.#lasts[index]!)
    }
    const isFull = events >= eventsMax || bytes >= bytesMax
    this.stuckEvents = isFull ? 0 : queue.readyEvents - events
    this.stuckBytes = isFull ? 0 : queue.readyBytes - bytes
    this.#payloadBytes = bytes
  }

  /** The batch as it goes to the server, key after key; valid until endWire(). */
  wire(): Buffer {
    const keys = this.#keys
    let bytesMax = this.#payloadBytes
    for (let index = 0; index < this.#channels.length; index++) {
      const head = keys.head(this.#channels[index]!)
      bytesMax += this.#form.wireBytesMax(head, this.#counts[index]!)
    }
    if (this.#wire.length < bytesMax) this.#wire = Buffer.allocUnsafeSlow(bytesMax)
    let end = 0
    for (let index = 0; index < this.#channels.length; index++) {
      const channel = this.#channels[index]!
      const head = keys.head(channel)
      end = this.#form.write(this.#wire, end, head, this.#queue, channel, this.#counts[index]!)
    }
    return this.#wire.subarray(0, end)
  }

  /** The answers are here: what is left of the batch may be dropped again. */
  end(): void {
    for (const channel of this.#channels) this.#queue.pin(channel, -1)
  }

  endWire(): void {
    if (this.#wire.length > WIRE_BYTES_KEPT_MAX) {
      this.#wire = Buffer.allocUnsafeSlow(WIRE_BYTES_MIN)
    }
  }

  #chooseKeys(nowMs: number): void {
    const active = this.#queue.activeChannels
    const keys = this.#keys
    this.#channels.length = 0
    this.#counts.length = 0
    this.#cursors.length = 0
    this.#lasts.length = 0
    this.retryAtMs = Number.POSITIVE_INFINITY
    this.#turn = (this.#turn + 1) % Math.max(1, active.length)
    for (let index = 0; index < active.length; index++) {
      const channel = active[(this.#turn + index) % active.length]!
      keys.open(channel)
      if (keys.retryAtMs(channel) > nowMs) {
        this.retryAtMs = Math.min(this.retryAtMs, keys.retryAtMs(channel))
        continue
      }
      this.#channels.push(channel)
      this.#counts.push(0)
      this.#lasts.push(-1)
      this.#cursors.push(this.#queue.head(channel))
    }
  }

  /** Keys that the flush had no room for. */
  #leaveOutEmpty(): void {
    let kept = 0
    for (let index = 0; index < this.#channels.length; index++) {
      if (this.#counts[index] === 0) continue
      this.#channels[kept] = this.#channels[index]!
      this.#counts[kept] = this.#counts[index]!
      this.#lasts[kept] = this.#lasts[index]!
      kept++
    }
    this.#channels.length = kept
    this.#counts.length = kept
  }
}
