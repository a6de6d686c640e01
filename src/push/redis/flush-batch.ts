import type { EventQueue } from '../event-queue.ts'
import type { FlushMarks } from './flush-marks.ts'
import type { KeyForm } from './key-form.ts'
import type { KeyTable } from './key-table.ts'
import { countAmong } from './list-form.ts'

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
 *
 * With marks it takes the events in the order in which they became ready, instead of in turns, so that a mark
 * can stand for all before it.
 */
export class FlushBatch {
  readonly #queue: EventQueue
  readonly #keys: KeyTable
  readonly #form: KeyForm
  readonly #marks: FlushMarks | undefined
  /** Slots of the batch that an earlier run has pushed: they are not written again. */
  readonly #repeats = new Set<number>()
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

  constructor(queue: EventQueue, keys: KeyTable, form: KeyForm, marks?: FlushMarks) {
    this.#queue = queue
    this.#keys = keys
    this.#form = form
    this.#marks = marks
  }

  /** Keys in the batch. */
  get size(): number {
    return this.#channels.length
  }

  indices(): number[] {
    return [...this.#channels.keys()]
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
    this.#chooseKeys(nowMs)
    const { events, bytes } =
      this.#marks === undefined
        ? this.#takeTurns(eventsMax, bytesMax)
        : this.#takeInOrder(this.#marks, eventsMax, bytesMax)
    this.#leaveOutEmpty()
    if (this.#marks !== undefined) this.#holdRefused(this.#marks)
    for (const [index, channel] of this.#channels.entries()) {
      queue.pin(channel, this.#lasts[index]!)
    }
    const isFull = events >= eventsMax || bytes >= bytesMax
    this.stuckEvents = isFull ? 0 : queue.readyEvents - events
    this.stuckBytes = isFull ? 0 : queue.readyBytes - bytes
    this.#payloadBytes = bytes
  }

  /** Whether an earlier run has pushed the slot of this batch. */
  isRepeat(slot: number): boolean {
    return this.#repeats.has(slot)
  }

  /** The batch as it goes to the server, key after key; valid until endWire(). */
  wire(): Buffer {
    const keys = this.#keys
    const marks = this.#marks
    const tail = marks?.tail()
    let bytesMax = this.#payloadBytes
    if (tail !== undefined) bytesMax += marks!.head.length + tail.length
    for (let index = 0; index < this.#channels.length; index++) {
      const head = keys.head(this.#channels[index]!)
      bytesMax += this.#form.wireBytesMax(head, this.#counts[index]!)
    }
    if (this.#wire.length < bytesMax) this.#wire = Buffer.allocUnsafeSlow(bytesMax)
    let end = marks === undefined ? 0 : marks.head.copy(this.#wire)
    const repeats = this.#repeats.size === 0 ? undefined : this.#repeats
    for (let index = 0; index < this.#channels.length; index++) {
      const channel = this.#channels[index]!
      const count = this.#counts[index]!
      if (repeats !== undefined && !this.isWritten(index)) continue
      const head = keys.head(channel)
      end = this.#form.write(this.#wire, end, head, this.#queue, channel, count, repeats)
    }
    if (tail !== undefined) end += tail.copy(this.#wire, end)
    return this.#wire.subarray(0, end)
  }

  /** Whether anything of the key is written: not everything in it is a repeat. */
  isWritten(index: number): boolean {
    if (this.#repeats.size === 0) return true
    const count = this.#counts[index]!
    return countAmong(this.#repeats, this.#queue, this.#channels[index]!, count) < count
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

  #takeTurns(eventsMax: number, bytesMax: number): { events: number; bytes: number } {
    const queue = this.#queue
    const keys = this.#keys
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
    return { events, bytes }
  }

  #takeInOrder(
    marks: FlushMarks,
    eventsMax: number,
    bytesMax: number,
  ): { events: number; bytes: number } {
    const queue = this.#queue
    const cursors = this.#cursors
    marks.begin()
    this.#repeats.clear()
    let events = 0
    let bytes = 0
    while (events < eventsMax && bytes < bytesMax) {
      let first = -1
      let order = Number.POSITIVE_INFINITY
      let nextOrder = Number.POSITIVE_INFINITY
      for (let index = 0; index < cursors.length; index++) {
        const slot = cursors[index]!
        if (slot === -1) continue
        const slotOrder = queue.readyOrderOf(slot)
        if (slotOrder < order) {
          nextOrder = order
          order = slotOrder
          first = index
        } else if (slotOrder < nextOrder) nextOrder = slotOrder
      }
      if (first === -1) break
      const isProbe = this.#keys.attempts(this.#channels[first]!) > 0
      let slot = cursors[first]!
      do {
        if (marks.take(slot)) this.#repeats.add(slot)
        bytes += queue.lengthOf(slot)
        events++
        this.#counts[first]!++
        this.#lasts[first] = slot
        slot = isProbe ? -1 : queue.next(slot)
      } while (
        slot !== -1 &&
        queue.readyOrderOf(slot) < nextOrder &&
        events < eventsMax &&
        bytes < bytesMax
      )
      cursors[first] = slot
    }
    return { events, bytes }
  }

  /** Marks stay below what waits in refused keys. */
  #holdRefused(marks: FlushMarks): void {
    const queue = this.#queue
    for (const channel of queue.activeChannels) {
      if (this.#keys.attempts(channel) === 0) continue
      const index = this.#channels.indexOf(channel)
      let slot = index === -1 ? queue.head(channel) : queue.next(this.#lasts[index]!)
      for (; slot !== -1; slot = queue.next(slot)) marks.hold(slot)
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
