import {
  type Clock,
  type Counter,
  type Counters,
  type Log,
  messageOf,
  type Timer,
} from '../base/index.ts'
import { isEventName } from '../discord/index.ts'
import { BAD_NAME, EventNames, TOO_MANY_NAMES } from './event-names.ts'
import type { EventFilter } from './event-filter.ts'
import { EventQueue, type QueueLimits } from './event-queue.ts'
import type { PayloadWriter } from './payload.ts'
import type { AckLanes, PushDrop, PushEvent, Undelivered, WhenFull } from './ports.ts'
import type { Spill } from './spill/spill.ts'
import type { SpillDrop, SpillRows } from './spill/spill-rows.ts'

/** How often the age of what waits is looked at, while something waits. */
const AGE_CHECK_MS = 1000

export interface IntakeOptions {
  readonly destination: string
  readonly filter: EventFilter
  readonly payload: PayloadWriter
  readonly limits: QueueLimits
  /** Default `block`. */
  readonly whenFull?: WhenFull | undefined
  /** With `spill` only. */
  readonly spill?: Spill | undefined
  /** Where an event of an earlier process goes. Default: the channel of that time. @param channel of that time. */
  readonly lateChannelOf?: ((name: number, channel: number) => number) | undefined
  readonly acks: AckLanes
  readonly keepsShardOrder: boolean
  readonly clock: Clock
  /** The channel of the queue that an event stands in. @param name number of the event's name. */
  readonly channelOf: (name: number, event: PushEvent) => number
  readonly counters: Counters
  readonly log: Log
  readonly onDrop: (drop: PushDrop) => void
}

/**
 * The way into a destination's queue, the same for all: filter, room, policy, payload; and its arithmetic:
 * taken = delivered + dropped by cause + queued.
 */
export class Intake {
  readonly queue: EventQueue
  /** May be replaced at any time. */
  filter: EventFilter
  readonly names: EventNames
  readonly delivered: Counter
  /** Called when something became ready by itself. */
  onReady: () => void = () => undefined
  /** Called when age or disk have made room. */
  onFreed: () => void = () => undefined
  readonly whenFull: WhenFull
  takenEvents = 0
  droppedEvents = 0
  readonly #options: IntakeOptions
  readonly #taken: Counter
  readonly #dropped = new Map<string, Map<string, Counter>>()
  readonly #ageMaxMs: number
  #ageTimer: Timer | undefined
  #isClosed = false

  constructor(options: IntakeOptions) {
    this.#options = options
    this.filter = options.filter
    this.whenFull = options.whenFull ?? 'block'
    this.#ageMaxMs = options.limits.ageMaxMs ?? 0
    this.queue = new EventQueue(options)
    this.names = new EventNames()
    const { counters } = options
    const labels = { destination: options.destination }
    this.#taken = counters.counter('gateway_push_taken_events_total', labels)
    this.delivered = counters.counter('gateway_push_delivered_events_total', labels)
    counters.gauge('gateway_push_queue_events', () => this.queue.events, labels)
    counters.gauge(
      'gateway_push_lag_seconds',
      () => Math.max(0, options.clock.now() - this.queue.oldestReceivedAtMs()) / 1000,
      labels,
    )
    counters.gauge('gateway_push_queue_bytes', () => this.queue.bytes, labels)
    const { spill } = options
    if (spill === undefined) return
    this.takenEvents += spill.found.events
    this.#taken.value += spill.found.events
    spill.attach({
      queue: this.queue,
      names: this.names.names,
      limits: options.limits,
      load: (rows, lateTo) => this.#load(rows, lateTo),
      drop: (drops, cause) => this.#dropAll(drops, cause),
      onReady: () => this.onReady(),
      onFreed: () => this.onFreed(),
    })
  }

  /** Nothing is held, neither here nor on the disk. */
  get isIdle(): boolean {
    return this.queue.events === 0 && this.spilledEvents === 0
  }

  /** On the disk and not in the queue. */
  get spilledEvents(): number {
    return this.#options.spill?.unreadEvents ?? 0
  }

  get spilledBytes(): number {
    return this.#options.spill?.unreadBytes ?? 0
  }

  /**
   * Queues the event if it is wanted and there is room, or room can be made.
   *
   * @returns whether it was queued.
   */
  take(event: PushEvent, lane: number, ticket: number): boolean {
    if (!this.filter.wants(event)) return false
    return this.keep(event, lane, ticket)
  }

  /** As take(), of an event that is wanted. */
  keep(event: PushEvent, lane: number, ticket: number): boolean {
    const name = this.names.admit(event.eventName)
    this.#count()
    if (name === BAD_NAME || name === TOO_MANY_NAMES) {
      this.#lose(event, name === BAD_NAME ? 'event_name' : 'event_names_max')
      return false
    }
    if (!this.queue.hasRoom && !this.#makeRoom()) {
      this.#lose(event, 'queue_full')
      return false
    }
    let length: number
    try {
      length = this.#options.payload.write(event, this.queue.arena)
    } catch (error) {
      this.#options.log.warn('event cannot be encoded', {
        destination: this.#options.destination,
        shardId: event.shardId,
        eventName: event.eventName,
        sequence: event.sequence,
        error: messageOf(error),
      })
      this.#lose(event, 'encoding')
      return false
    }
    const channel = this.#options.channelOf(name, event)
    this.queue.add(channel, name, event, lane, ticket, length)
    if (this.#ageMaxMs > 0) this.#watchAge()
    this.#options.spill?.onAdded()
    return true
  }

  /** Counts a wanted event that nobody will miss: no gap. */
  discard(eventName: string, cause: string): void {
    this.#count()
    this.count(eventName, cause)
  }

  /** The event of a slot that is out of its channel was refused for good. */
  dropSlot(slot: number, cause: string): void {
    const { queue } = this
    const eventName = this.names.names[queue.nameOf(slot)]!
    this.count(eventName, cause)
    this.#options.onDrop({
      destination: this.#options.destination,
      shardId: queue.shardOf(slot),
      sessionId: queue.sessionOf(slot),
      sequence: queue.sequenceOf(slot),
      eventName,
      cause,
    })
    queue.finish(slot)
  }

  /** Counts one dropped event without reporting a gap. */
  count(eventName: string, cause: string): void {
    this.droppedEvents++
    // Names from the wire do not become labels.
    const event = isEventName(eventName) ? eventName : 'other'
    let byEvent = this.#dropped.get(cause)
    if (byEvent === undefined) this.#dropped.set(cause, (byEvent = new Map()))
    let counter = byEvent.get(event)
    if (counter === undefined) {
      const { destination, counters } = this.#options
      counter = counters.counter('gateway_push_dropped_events_total', { destination, event, cause })
      byEvent.set(event, counter)
    }
    counter.value++
  }

  /** Events left the queue: there may be room for what lies on the disk. */
  onTaken(): void {
    this.#options.spill?.onTaken()
  }

  /** No more is taken or dropped. @returns what is still held, for the destination's drain(). */
  async close(): Promise<Undelivered> {
    this.#isClosed = true
    const { destination, spill, clock } = this.#options
    clock.clearTimeout(this.#ageTimer)
    const saved = (await spill?.close())?.savedEvents ?? 0
    return {
      destination,
      events: this.queue.events + this.spilledEvents,
      bytes: this.queue.bytes + this.spilledBytes,
      spilledEvents: saved + this.spilledEvents,
    }
  }

  #count(): void {
    this.takenEvents++
    this.#taken.value++
  }

  /** Drops the oldest where the policy says so; what is on its way or waits for the cache stays. */
  #makeRoom(): boolean {
    const { spill } = this.#options
    if (spill !== undefined) {
      // The disk takes nothing, or not fast enough.
      const slot = this.whenFull === 'spill' ? spill.shiftStaged() : -1
      if (slot !== -1) this.dropSlot(slot, 'spill_behind')
      return this.queue.hasRoom
    }
    if (this.whenFull !== 'drop-oldest') return false
    while (!this.queue.hasRoom) {
      if (!this.#dropOldest('queue_full')) return false
    }
    return true
  }

  #dropOldest(cause: string, receivedBeforeMs = Number.POSITIVE_INFINITY): boolean {
    const { queue } = this
    const slot = queue.oldest()
    if (slot === -1 || queue.receivedAtMsOf(slot) >= receivedBeforeMs) return false
    queue.discard(slot)
    this.dropSlot(slot, cause)
    return true
  }

  /** Rows come back from the disk. */
  #load(rows: SpillRows, lateTo: number): void {
    const { queue } = this
    const { clock, payload, spill, lateChannelOf } = this.#options
    const receivedBeforeMs = this.#ageMaxMs === 0 ? 0 : clock.now() - this.#ageMaxMs
    let start = 0
    for (const [index, row] of rows.ids.entries()) {
      const length = rows.lengths[index]!
      const stored = rows.bytes.subarray(start, start + length)
      start += length
      const event = {
        eventName: rows.names[index]!,
        shardId: rows.shards[index]!,
        sessionId: rows.sessions[index]!,
        sequence: rows.sequences[index]!,
        receivedAtMs: rows.receivedAtMs[index]!,
      }
      const name = this.names.admit(event.eventName)
      if (name < 0 || event.receivedAtMs < receivedBeforeMs) {
        this.#dropAll([event], name < 0 ? 'event_names_max' : 'age')
        spill?.remove(row, event)
        continue
      }
      const isLate = row <= lateTo
      const bytes = isLate ? (payload.late?.(stored) ?? stored) : stored
      const channel = rows.channels[index]!
      queue.arena.reserve(bytes.length)
      queue.arena.bytes.set(bytes, queue.arena.end)
      queue.addSaved(
        isLate ? (lateChannelOf?.(name, channel) ?? channel) : channel,
        name,
        event,
        row,
        isLate,
        bytes.length,
      )
    }
  }

  /** Counts and reports events that are only known by name. */
  #dropAll(drops: readonly SpillDrop[], cause: string): void {
    const { destination, onDrop } = this.#options
    for (const { eventName, shardId, sessionId, sequence } of drops) {
      this.count(eventName, cause)
      if (shardId < 0) continue
      onDrop({ destination, shardId, sessionId, sequence, eventName, cause })
    }
  }

  #watchAge(): void {
    if (this.#ageTimer !== undefined || this.#isClosed) return
    this.#ageTimer = this.#options.clock.setTimeout(this.#checkAge, AGE_CHECK_MS)
  }

  readonly #checkAge = (): void => {
    this.#ageTimer = undefined
    const receivedBeforeMs = this.#options.clock.now() - this.#ageMaxMs
    let isAny = false
    while (this.#dropOldest('age', receivedBeforeMs)) isAny = true
    if (isAny) this.onFreed()
    if (this.queue.events > 0) this.#watchAge()
  }

  /** Counts and reports an event that was not queued. */
  #lose(event: PushEvent, cause: string): void {
    this.count(event.eventName, cause)
    this.#options.onDrop({
      destination: this.#options.destination,
      shardId: event.shardId,
      sessionId: event.sessionId,
      sequence: event.sequence,
      eventName: event.eventName.slice(0, 100),
      cause,
    })
  }
}
