import {
  type Clock,
  type Counter,
  type Counters,
  type Log,
  messageOf,
  type Timer,
} from '../../base/index.ts'
import { PushError } from '../errors.ts'
import type { EventQueue } from '../event-queue.ts'
import { SpillContents } from './spill-contents.ts'
import type { SpillLedger } from './spill-ledger.ts'
import { ROW_BYTES, type SpillDrop, type SpillOpened, type SpillRows } from './spill-rows.ts'
import type { SpillThread } from './spill-thread.ts'

/** One write to the disk, and what is read at once, at most. */
const WRITE_EVENTS = 8192
const WRITE_BYTES = 4 * 1024 * 1024
const READ_EVENTS = 2048
/** Events that become ready meanwhile go with the same write. */
const WRITE_LINGER_MS = 20
const WRITE_RETRY_MS = 1000
/** What was delivered leaves the disk after this; a crash before repeats it. */
const REMOVE_LINGER_MS = 50
const AGE_CHECK_MS = 250

export interface SpillOptions {
  readonly destination: string
  readonly thread: SpillThread
  readonly ledger: SpillLedger
  readonly folder: string
  /** How payloads are written: what lies in the file must be of the same form. */
  readonly form: string
  readonly bytesMax: number
  /** An event that has waited for so long goes to the disk, and is accepted by that. */
  readonly afterMs: number
  readonly clock: Clock
  readonly log: Log
  readonly counters: Counters
}

/** What the spill needs of the intake of its destination. */
export interface SpillHost {
  readonly queue: EventQueue
  /** Event names by number. */
  readonly names: readonly string[]
  readonly limits: { readonly eventsMax: number; readonly bytesMax: number }
  /** Puts rows into their channels; what cannot be used is dropped there. @param isLate left by an earlier process. */
  load(rows: SpillRows, lateTo: number): void
  drop(drops: readonly SpillDrop[], cause: string): void
  onReady(): void
  onFreed(): void
}

interface Entry {
  readonly slot: number
  /** Tells the slot from a later event in it. */
  readonly order: number
  /** It stays in memory, because it is on its way. */
  readonly isKept: boolean
}

/**
 * What a queue cannot hold, on disk and in order:
 *
 *   flowing    ready ────────────────────────────────► channels ──► destination
 *   spilling   ready ──► staged ──write──► disk ──read──► channels ──► destination
 *
 * It begins when the queue is half full or an event has waited too long, with everything that is ready and not
 * on its way; it ends when the disk has been read to its end. Events are accepted once they are on the disk.
 */
export class Spill {
  /** What an earlier process left here. */
  readonly found: SpillOpened
  /** On disk and not in the queue. */
  unreadEvents: number
  unreadBytes: number
  readonly #options: SpillOptions
  readonly #number: number
  readonly #log: Log
  readonly #spilled: Counter
  readonly #contents: SpillContents
  #host: SpillHost | undefined
  #isActive = false
  /** Rows on disk, those that the queue has read included. */
  #rows: number
  #nextRow: number
  /** On their way and not on the disk yet: they stay in the queue. */
  #kept: Entry[] = []
  #reading: Promise<void> | null = null
  #writing: Promise<void> | null = null
  #removing: Promise<void> | null = null
  #removed: number[] = []
  #isFailing = false
  #isClosed = false
  #closed: Promise<{ readonly savedEvents: number }> | undefined
  #writeTimer: Timer | undefined
  #removeTimer: Timer | undefined
  #ageTimer: Timer | undefined

  /** @throws PushError PUSH_SPILL_UNUSABLE */
  static async open(options: SpillOptions): Promise<Spill> {
    const { thread, folder, destination, form, bytesMax } = options
    const number = thread.number()
    try {
      const request = { kind: 'open', folder, name: destination, form, bytesMax } as const
      return new Spill(options, number, await thread.request(number, request))
    } catch (error) {
      throw new PushError(
        'PUSH_SPILL_UNUSABLE',
        `Destination ${destination} cannot spill to ${folder}: ${messageOf(error)}. Give a folder that can be written with -data, or another -when-full.`,
        { destination, folder },
        { cause: error },
      )
    }
  }

  private constructor(options: SpillOptions, number: number, found: SpillOpened) {
    const { destination, counters } = options
    this.#options = options
    this.#number = number
    this.found = found
    this.#log = options.log.child({ destination })
    this.unreadEvents = found.events
    this.unreadBytes = found.bytes
    this.#rows = found.events
    this.#nextRow = found.lastId + 1
    this.#contents = new SpillContents(destination, found)
    options.ledger.open(this.#contents, found.isNew)
    const labels = { destination }
    this.#spilled = counters.counter('gateway_push_spilled_events_total', labels)
    counters.gauge('gateway_push_spill_events', () => this.#rows, labels)
    counters.gauge('gateway_push_spill_unread_bytes', () => this.unreadBytes, labels)
    counters.gauge('gateway_push_spill_up', () => (this.#isFailing ? 0 : 1), labels)
    for (const { path, cause } of found.warnings) {
      this.#log.error('spill: a file cannot be used; its events are not delivered', { path, cause })
    }
    if (found.events > 0) {
      this.#log.info('spill: delivering what an earlier process left', {
        path: found.path,
        events: found.events,
      })
    }
  }

  /** Nothing waits for the disk or lies on it unread. */
  get isIdle(): boolean {
    return !this.#isActive
  }

  attach(host: SpillHost): void {
    this.#host = host
    host.queue.onDiverted = () => this.#writeSoon()
    const { queue } = host
    queue.onRowDone = (row, slot) => {
      this.remove(row, {
        shardId: queue.shardOf(slot),
        sessionId: queue.sessionOf(slot),
        sequence: queue.sequenceOf(slot),
      })
    }
    if (this.unreadEvents > 0) {
      this.#isActive = true
      host.queue.isDiverting = true
      this.#pump()
    }
  }

  /** An event was added to the queue. */
  onAdded(): void {
    const { queue, limits } = this.#host!
    if (!this.#isActive) {
      if (queue.events * 2 > limits.eventsMax || queue.bytes * 2 > limits.bytesMax) this.#begin()
      else this.#ageTimer ??= this.#options.clock.setTimeout(this.#checkAge, AGE_CHECK_MS)
    }
  }

  /** The destination took events: there may be room for what is on the disk. */
  onTaken(): void {
    if (this.#isActive) this.#pump()
  }

  /** The oldest event that waits for the disk, taken out; -1 for none. */
  shiftStaged(): number {
    return this.#host!.queue.diverted.shift() ?? -1
  }

  /** The event of this row is through. */
  remove(row: number, event: Omit<SpillDrop, 'eventName'>): void {
    this.#contents.remove(event.shardId, event.sessionId, event.sequence)
    this.#removeRow(row)
  }

  #removeRow(row: number): void {
    this.#removed.push(row)
    this.#removeTimer ??= this.#options.clock.setTimeout(this.#flushRemoved, REMOVE_LINGER_MS)
  }

  /**
   * Writes down what is still in memory, and closes the file.
   *
   * @returns how many events of the queue are on the disk now.
   */
  close(): Promise<{ readonly savedEvents: number }> {
    return (this.#closed ??= this.#close())
  }

  async #close(): Promise<{ readonly savedEvents: number }> {
    const { clock, thread, ledger } = this.#options
    const { spillId } = this.found
    const { queue } = this.#host!
    this.#isClosed = true
    for (const timer of [this.#writeTimer, this.#removeTimer, this.#ageTimer]) {
      clock.clearTimeout(timer)
    }
    await Promise.allSettled([this.#reading, this.#writing, this.#removing])
    const all = queue.unsavedSlots().map((slot) => this.#entry(slot, true))
    let savedEvents = queue.events - all.length
    try {
      for (let start = 0; start < all.length; ) {
        const batch = this.#batch(all, start)
        await this.#writeBatch(batch)
        start += batch.length
        savedEvents += batch.length
      }
      const ids = Float64Array.from(this.#removed)
      if (ids.length > 0) await thread.request(this.#number, { kind: 'remove', ids })
      const keepsFile = ledger.isNamed(spillId)
      await thread.request(this.#number, { kind: 'close', keepsFile })
    } catch (error) {
      this.#log.error('spill: could not be written at the end', { error: messageOf(error) })
    }
    ledger.close(spillId)
    return { savedEvents }
  }

  /** From now on everything goes through the disk. */
  #begin(): void {
    const { queue } = this.#host!
    this.#isActive = true
    this.#kept = queue.slotsUnderWay().map((slot) => this.#entry(slot, true))
    queue.divertReady()
    this.#log.info('spill: events go to the disk', { path: this.found.path })
    this.#write()
  }

  readonly #checkAge = (): void => {
    this.#ageTimer = undefined
    if (this.#isActive || this.#isClosed) return
    const { queue } = this.#host!
    const { clock, afterMs } = this.#options
    const oldestMs = queue.oldestUnsavedMs()
    if (clock.now() - oldestMs >= afterMs) this.#begin()
    else if (queue.events > 0) {
      this.#ageTimer = clock.setTimeout(this.#checkAge, AGE_CHECK_MS)
    }
  }

  #pump(): void {
    if (this.#isClosed || !this.#isActive) return
    const { queue, limits } = this.#host!
    if (this.#reading === null && this.unreadEvents > 0 && this.#hasReadRoom()) {
      this.#reading = this.#read(Math.min(WRITE_BYTES, limits.bytesMax / 8))
      return
    }
    const isAtEnd = this.unreadEvents === 0 && this.#reading === null && this.#writing === null
    if (isAtEnd && this.#kept.length === 0) {
      this.#isActive = false
      queue.resume()
      this.#log.info('spill: everything is read, events go on from memory')
      this.#host!.onReady()
      this.onAdded()
      return
    }
    if (queue.diverted.length > 0) this.#writeSoon()
  }

  #hasReadRoom(): boolean {
    const { queue, limits } = this.#host!
    const { eventsMax, bytesMax } = limits
    return (
      queue.readyEvents < Math.min(READ_EVENTS, eventsMax / 8) &&
      queue.readyBytes < bytesMax / 8 &&
      queue.events < eventsMax * 0.75 &&
      queue.bytes < bytesMax * 0.75
    )
  }

  async #read(bytesMax: number): Promise<void> {
    const { thread } = this.#options
    const host = this.#host!
    const eventsMax = Math.max(1, Math.min(READ_EVENTS, Math.floor(host.limits.eventsMax / 8)))
    try {
      const rows = await thread.request(this.#number, { kind: 'read', eventsMax, bytesMax })
      this.unreadEvents -= rows.ids.length
      this.unreadBytes -= bytesOf(rows)
      // Nothing was there: what was believed to be is gone.
      if (rows.ids.length === 0) this.#forgetUnread()
      host.load(rows, this.found.lastId)
    } catch (error) {
      this.#log.error('spill: cannot be read, what lies on the disk is lost', {
        path: this.found.path,
        events: this.unreadEvents,
        error: messageOf(error),
      })
      this.#forgetUnread()
    }
    this.#reading = null
    if (this.#isClosed) return
    host.onReady()
    this.#pump()
  }

  #forgetUnread(): void {
    const lost = Array.from({ length: this.unreadEvents }, () => LOST)
    this.unreadEvents = 0
    this.unreadBytes = 0
    this.#contents.clear()
    this.#host!.drop(lost, 'spill_damaged')
  }

  #writeSoon(): void {
    this.#writeTimer ??= this.#options.clock.setTimeout(this.#onWriteTimer, WRITE_LINGER_MS)
  }

  readonly #onWriteTimer = (): void => {
    this.#writeTimer = undefined
    this.#write()
  }

  #write(): void {
    if (this.#isClosed || !this.#isActive || this.#writing !== null) return
    // What is being read may be the end of it: then the rest needs no disk.
    if (this.#reading !== null && this.unreadEvents <= READ_EVENTS && !this.#isCrowded()) return
    const { diverted } = this.#host!.queue
    if (this.#kept.length + diverted.length === 0) return
    this.#writing = this.#writeOnce()
  }

  #isCrowded(): boolean {
    const { queue, limits } = this.#host!
    return queue.events * 2 > limits.eventsMax || queue.bytes * 2 > limits.bytesMax
  }

  async #writeOnce(): Promise<void> {
    const host = this.#host!
    const { queue } = host
    const entries = [...this.#kept]
    const { diverted } = queue
    for (let index = 0; index < Math.min(WRITE_EVENTS, diverted.length); index++) {
      entries.push(this.#entry(diverted[index]!, false))
    }
    const batch = this.#batch(entries, 0)
    const keptCount = Math.min(this.#kept.length, batch.length)
    this.#kept.splice(0, keptCount)
    diverted.splice(0, batch.length - keptCount)
    let isWritten = false
    try {
      await this.#writeBatch(batch)
      isWritten = true
      if (this.#isFailing) this.#log.info('spill: can be written again')
      this.#isFailing = false
    } catch (error) {
      for (const entry of batch.toReversed()) {
        if (entry.isKept) this.#kept.unshift(entry)
        else diverted.unshift(entry.slot)
      }
      if (!this.#isFailing) {
        this.#log.error(
          'spill: cannot be written; events wait in memory, then the oldest are dropped',
          {
            path: this.found.path,
            error: messageOf(error),
            cure: cureOf(error),
          },
        )
      }
      this.#isFailing = true
    }
    this.#writing = null
    if (this.#isClosed) return
    if (!isWritten) {
      this.#writeTimer ??= this.#options.clock.setTimeout(this.#onWriteTimer, WRITE_RETRY_MS)
      return
    }
    host.onFreed()
    if (queue.diverted.length >= WRITE_EVENTS || this.#kept.length > 0) this.#write()
    this.#pump()
  }

  #entry(slot: number, isKept: boolean): Entry {
    return { slot, order: this.#host!.queue.orderOf(slot), isKept }
  }

  /** The entries from `start` on that one write takes: at least one. */
  #batch(entries: readonly Entry[], start: number): Entry[] {
    const { queue } = this.#host!
    const batch: Entry[] = []
    let bytes = 0
    for (let index = start; index < entries.length && batch.length < WRITE_EVENTS; index++) {
      const entry = entries[index]!
      // A kept one may have been delivered meanwhile.
      bytes += Math.max(0, queue.lengthOf(entry.slot))
      if (batch.length > 0 && bytes > WRITE_BYTES) break
      batch.push(entry)
    }
    return batch
  }

  async #writeBatch(batch: readonly Entry[]): Promise<void> {
    const host = this.#host!
    const { queue } = host
    const live = batch.filter((entry) => queue.orderOf(entry.slot) === entry.order)
    if (live.length === 0) return
    const slots = live.map((entry) => entry.slot)
    const firstRow = this.#nextRow
    this.#nextRow += live.length
    const rows = queue.rowsOf(slots, firstRow, host.names)
    const keptCount = live.filter((entry) => entry.isKept).length
    const keptTo = keptCount === 0 ? 0 : firstRow + keptCount - 1
    const { drops, droppedBytes } = await this.#options.thread.request(
      this.#number,
      { kind: 'write', rows, keptTo },
      [rows.bytes.buffer as ArrayBuffer],
    )
    this.#rows += live.length - drops.length
    this.#spilled.value += live.length
    this.unreadEvents -= drops.length
    this.unreadBytes -= droppedBytes
    for (const drop of drops) {
      this.#contents.remove(drop.shardId, drop.sessionId, drop.sequence)
    }
    host.drop(drops, 'spill_full')
    for (const [index, entry] of live.entries()) {
      const row = firstRow + index
      const isThere = queue.orderOf(entry.slot) === entry.order
      if (isThere) {
        this.#contents.add(rows.shards[index]!, rows.sessions[index]!, rows.sequences[index]!)
      }
      if (entry.isKept) {
        if (isThere) queue.save(entry.slot, row)
        else this.#removeRow(row)
      } else {
        this.unreadEvents++
        this.unreadBytes += queue.lengthOf(entry.slot) + ROW_BYTES
        queue.release(entry.slot)
      }
    }
  }

  readonly #flushRemoved = (): void => {
    this.#removeTimer = undefined
    if (this.#isClosed || this.#removed.length === 0) return
    const ids = Float64Array.from(this.#removed)
    this.#removed = []
    this.#removing = this.#options.thread
      .request(this.#number, { kind: 'remove', ids })
      .then(() => {
        this.#rows -= ids.length
      })
      .catch((error: unknown) => {
        this.#log.error('spill: what was delivered could not be removed, it may come again', {
          error: messageOf(error),
        })
      })
  }
}

/** An event of which nothing is known any more. */
const LOST: SpillDrop = { eventName: '', shardId: -1, sessionId: '', sequence: 0 }

function bytesOf(rows: SpillRows): number {
  return rows.bytes.length + rows.ids.length * ROW_BYTES
}

function cureOf(error: unknown): string {
  const message = messageOf(error)
  if (/full|ENOSPC/i.test(message)) return 'The disk is full: make room, or lower -spill-bytes-max.'
  if (/readonly|EACCES|EPERM|EROFS/i.test(message))
    return 'The folder cannot be written: correct its permissions.'
  return 'Look at the disk of -data.'
}
