import { type Clock, type Counter, type Counters, type Log, messageOf } from '../base/index.ts'
import { BAD_NAME, EventNames, TOO_MANY_NAMES } from './event-names.ts'
import type { EventFilter } from './event-filter.ts'
import { EventQueue, type QueueLimits } from './event-queue.ts'
import type { PayloadWriter } from './payload.ts'
import type { AckLanes, PushDrop, PushEvent } from './ports.ts'

export interface IntakeOptions {
  readonly destination: string
  readonly filter: EventFilter
  readonly payload: PayloadWriter
  readonly limits: QueueLimits
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
 * The way into a destination's queue, the same for all: filter, room, payload; and its arithmetic:
 * taken = delivered + dropped + queued.
 */
export class Intake {
  readonly queue: EventQueue
  /** May be replaced at any time. */
  filter: EventFilter
  readonly names: EventNames
  readonly delivered: Counter
  takenEvents = 0
  droppedEvents = 0
  readonly #options: IntakeOptions
  readonly #dropped = new Map<string, Counter>()

  constructor(options: IntakeOptions) {
    this.#options = options
    this.filter = options.filter
    this.queue = new EventQueue(options)
    this.names = new EventNames()
    const { counters } = options
    const labels = { destination: options.destination }
    this.delivered = counters.counter('gateway_push_delivered_events_total', labels)
    counters.gauge('gateway_push_queue_events', () => this.queue.events, labels)
    counters.gauge(
      'gateway_push_lag_seconds',
      () => Math.max(0, options.clock.now() - this.queue.oldestReceivedAtMs()) / 1000,
      labels,
    )
    counters.gauge('gateway_push_queue_bytes', () => this.queue.bytes, labels)
  }

  /**
   * Queues the event if it is wanted and there is room.
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
    this.takenEvents++
    if (name === BAD_NAME || name === TOO_MANY_NAMES) {
      this.#lose(event, name === BAD_NAME ? 'event_name' : 'event_names_max')
      return false
    }
    if (!this.queue.hasRoom) {
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
    return true
  }

  /** Counts a wanted event that nobody will miss: no gap. */
  discard(cause: string): void {
    this.takenEvents++
    this.count(cause)
  }

  /** The event of a slot was refused for good. */
  dropSlot(slot: number, cause: string): void {
    const { queue } = this
    this.count(cause)
    this.#options.onDrop({
      destination: this.#options.destination,
      shardId: queue.shardOf(slot),
      sessionId: queue.sessionOf(slot),
      sequence: queue.sequenceOf(slot),
      eventName: this.names.names[queue.nameOf(slot)]!,
      cause,
    })
    queue.finish(slot)
  }

  /** Counts one dropped event without reporting a gap. */
  count(cause: string): void {
    this.droppedEvents++
    let counter = this.#dropped.get(cause)
    if (counter === undefined) {
      counter = this.#options.counters.counter('gateway_push_dropped_events_total', {
        destination: this.#options.destination,
        cause,
      })
      this.#dropped.set(cause, counter)
    }
    counter.value++
  }

  /** Counts and reports an event that was not queued. */
  #lose(event: PushEvent, cause: string): void {
    this.count(cause)
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
