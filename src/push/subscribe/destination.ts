import { status } from '@grpc/grpc-js'
import type { Clock, Counter, Counters, Log, Timer } from '../../base/index.ts'
import { EventFilter, warnOfUnknownEvents } from '../event-filter.ts'
import type { QueueLimits } from '../event-queue.ts'
import type { FilterRule } from '../filter-rule.ts'
import { Intake } from '../intake.ts'
import type {
  AckLanes,
  Destination,
  DestinationStats,
  PushDrop,
  PushEvent,
  Undelivered,
  WhenFull,
} from '../ports.ts'
import { EventMessageWriter } from '../event-message.ts'
import { EventWindow } from './event-window.ts'
import { GuildReader } from '../guild-reader.ts'
import { type EventStream, Subscriber } from './subscriber.ts'
import type { Subscription } from './subscribe-request.ts'

const SUBSCRIBERS_MAX = 1000
/** A stream from which nothing leaves for this long is ended. */
const STALL_MS = 30_000
const STALL_CHECK_MS = 1_000

export interface SubscribeOptions {
  /** Label in logs and metrics. */
  readonly name: string
  /** Names that may be subscribed to; undefined = all. */
  readonly events?: readonly string[] | undefined
  /** What any of these lets through; undefined = everything. */
  readonly rules?: readonly FilterRule[] | undefined
  readonly limits: QueueLimits
  readonly isRequired?: boolean | undefined
  /** Default `block`. */
  readonly whenFull?: WhenFull | undefined
  readonly acks: AckLanes
  readonly onDrop: (drop: PushDrop) => void
  readonly clock: Clock
  readonly log: Log
  readonly counters: Counters
}

/**
 * gRPC subscribers of this process (`gateway.Events/Subscribe`). One bounded queue that all read. An
 * event is accepted when it has left for every subscriber that wants it; with nobody connected it is
 * dropped and counted, which is no gap: nobody asked for it.
 *
 * A subscriber that lags by half the queue while another one keeps up is cut off, and so is one from
 * whose stream nothing leaves for 30 s. While the only subscriber is slow, the queue fills and the
 * shards wait for it.
 */
export class SubscribeDestination implements Destination {
  readonly name: string
  readonly isRequired: boolean
  readonly whenFull: WhenFull
  onFreed: () => void = () => undefined
  readonly #options: SubscribeOptions
  readonly #intake: Intake
  readonly #window: EventWindow
  readonly #guilds = new GuildReader()
  readonly #subscribers = new Set<Subscriber>()
  /** Cut off, but the peer has not let go of the stream: they still hold memory. */
  #lingering = 0
  readonly #cut: { readonly lag: Counter; readonly stall: Counter }
  #stallTimer: Timer | undefined
  #isClosed = false
  #onIdle: (() => void) | undefined

  constructor(options: SubscribeOptions) {
    const { name, counters } = options
    this.name = name
    this.isRequired = options.isRequired ?? true
    this.whenFull = options.whenFull ?? 'block'
    this.#options = options
    this.#intake = new Intake({
      ...options,
      destination: name,
      filter: new EventFilter({ ...options, destination: name, takesChunks: true }),
      payload: new EventMessageWriter('etf'),
      keepsShardOrder: true,
      channelOf: () => 0,
    })
    this.#intake.onFreed = () => this.onFreed()
    // Where the oldest make room, half of the queue is on its way to subscribers and half is not.
    const share = this.whenFull === 'drop-oldest' ? 0.5 : 1
    this.#window = new EventWindow(this.#intake.queue, this.#intake.names, {
      events: options.limits.eventsMax * share,
      bytes: options.limits.bytesMax * share,
    })
    counters.gauge('gateway_push_subscribers', () => this.#subscribers.size, { destination: name })
    const cutCounter = (cause: string): Counter =>
      counters.counter('gateway_push_subscribers_cut_total', { destination: name, cause })
    this.#cut = { lag: cutCounter('lag'), stall: cutCounter('stall') }
    warnOfUnknownEvents(options.events ?? [], options.log, { destination: name })
  }

  get hasRoom(): boolean {
    return this.#intake.queue.hasRoom
  }

  get isHalfFree(): boolean {
    return this.#intake.queue.isHalfFree
  }

  async start(): Promise<void> {
    // The listener belongs to the gRPC server; there is nothing to connect to.
  }

  /**
   * Adds a subscriber; it gets what becomes ready from now on.
   *
   * @returns what the owner of the stream calls back, or null when there are too many subscribers or
   * the gateway is stopping (the stream was ended).
   */
  subscribe(
    subscription: Subscription,
    stream: EventStream,
  ): { readonly onDrain: () => void; readonly onGone: () => void } | null {
    if (this.#isClosed) {
      stream.end(status.UNAVAILABLE, 'The gateway is stopping: subscribe again.')
      return null
    }
    if (this.#subscribers.size + this.#lingering >= SUBSCRIBERS_MAX) {
      stream.end(status.RESOURCE_EXHAUSTED, `There are ${SUBSCRIBERS_MAX} subscribers already.`)
      return null
    }
    const { clock, log } = this.#options
    this.#window.fill()
    const subscriber = new Subscriber({
      subscription,
      stream,
      next: this.#window.end,
      nowMs: clock.monotonic(),
      onWritten: this.#onWritten,
    })
    this.#subscribers.add(subscriber)
    log.info('subscriber: connected', {
      destination: this.name,
      subscriber: subscription.name,
      subscribers: this.#subscribers.size,
    })
    if (subscription.unknownEvents.length > 0) {
      log.warn('subscriber: asks for event names that are not known', {
        destination: this.name,
        subscriber: subscription.name,
        events: subscription.unknownEvents,
      })
    }
    return {
      onDrain: () => {
        subscriber.isCongested = false
        this.#pump(subscriber)
      },
      onGone: () => {
        if (subscriber.isGone) this.#lingering--
        else this.#remove(subscriber, 'subscriber: gone')
      },
    }
  }

  push(event: PushEvent, lane: number, ticket: number): void {
    const intake = this.#intake
    if (!intake.filter.wants(event)) return
    const name = intake.names.admit(event.eventName)
    if (name >= 0) {
      if (this.#subscribers.size === 0) {
        // A member chunk answers a request; unlike other events nobody gets it by not asking.
        if (event.eventName !== 'GUILD_MEMBERS_CHUNK')
          intake.discard(event.eventName, 'no_subscriber')
        return
      }
      if (!this.#isWanted(name, event)) return
    }
    if (intake.keep(event, lane, ticket)) this.#advance()
  }

  settle(lane: number, ticket: number): void {
    if (this.#intake.queue.settle(lane, ticket)) this.#advance()
  }

  async drain(deadlineMs: number): Promise<Undelivered> {
    const { clock } = this.#options
    const { queue } = this.#intake
    this.#advance()
    if (queue.events > 0) {
      const { promise, resolve } = Promise.withResolvers<void>()
      this.#onIdle = resolve
      const timer = clock.setTimeout(resolve, deadlineMs)
      await promise
      clock.clearTimeout(timer)
    }
    this.#isClosed = true
    clock.clearTimeout(this.#stallTimer)
    this.#stallTimer = undefined
    for (const subscriber of this.#subscribers) {
      subscriber.isGone = true
      subscriber.stream.end(status.UNAVAILABLE, 'The gateway is stopping: subscribe again.')
    }
    this.#subscribers.clear()
    return this.#intake.close()
  }

  stats(): DestinationStats {
    const { queue } = this.#intake
    return {
      destination: this.name,
      isUp: this.#subscribers.size > 0,
      queuedEvents: queue.events,
      queuedBytes: queue.bytes,
      arenaBytes: queue.arena.allocatedBytes,
      takenEvents: this.#intake.takenEvents,
      deliveredEvents: this.#intake.delivered.value,
      droppedEvents: this.#intake.droppedEvents,
      flushes: 0,
      retries: 0,
    }
  }

  #isWanted(name: number, event: PushEvent): boolean {
    let guildId: bigint | null | undefined
    for (const subscriber of this.#subscribers) {
      if (!subscriber.wants(name, event.eventName, event.shardId)) continue
      const { guildIds } = subscriber.subscription
      if (guildIds === undefined) return true
      if (guildId === undefined) {
        guildId = this.#guilds.read(event.eventName, event.bytes, event.start, event.end)
      }
      if (guildId !== null && guildIds.has(guildId)) return true
    }
    return false
  }

  /** Something became ready. */
  #advance(): void {
    this.#window.fill()
    for (const subscriber of this.#subscribers) {
      if (!subscriber.isCongested) this.#pumpOnly(subscriber)
    }
    this.#cutLaggards()
    this.#free()
  }

  #pump(subscriber: Subscriber): void {
    if (subscriber.isGone) return
    this.#pumpOnly(subscriber)
    this.#free()
  }

  #pumpOnly(subscriber: Subscriber): void {
    if (!subscriber.hasPending) subscriber.progressAtMs = this.#options.clock.monotonic()
    subscriber.pump(this.#window, this.#intake.names.names)
    if (subscriber.hasPending) this.#watchStalls()
  }

  readonly #onWritten = (subscriber: Subscriber, ordinal: number): void => {
    subscriber.progressAtMs = this.#options.clock.monotonic()
    this.#window.markTaken(ordinal)
    if (!subscriber.isCongested && subscriber.next < this.#window.end) this.#pumpOnly(subscriber)
    // Only who held the oldest event can have freed it.
    if (ordinal === this.#window.base) this.#free()
  }

  /** Finishes what no subscriber still waits for. */
  #free(): void {
    const window = this.#window
    let floor = window.end
    for (const subscriber of this.#subscribers) floor = Math.min(floor, subscriber.floor)
    if (window.base === floor) return
    const intake = this.#intake
    while (window.base < floor) {
      const { slot, outcome } = window.shift()
      if (outcome === 'failed') {
        intake.dropSlot(slot, 'encoding')
        continue
      }
      if (outcome === 'taken') intake.delivered.value++
      else intake.count(intake.names.names[intake.queue.nameOf(slot)]!, 'no_subscriber')
      intake.queue.finish(slot)
    }
    this.onFreed()
    if (intake.queue.events === 0) this.#onIdle?.()
    else if (window.fill()) this.#advance()
  }

  /** Who is behind by half the queue, while another one is not behind by half of that, is cut off. */
  #cutLaggards(): void {
    const { eventsMax, bytesMax } = this.#options.limits
    const window = this.#window
    if (this.#subscribers.size < 2) return
    if (window.end - window.base < eventsMax / 2 && window.bytesFrom(window.base) < bytesMax / 2) {
      return
    }
    const lag = (subscriber: Subscriber): number =>
      Math.max(
        (window.end - subscriber.floor) / eventsMax,
        window.bytesFrom(subscriber.floor) / bytesMax,
      )
    const lags = [...this.#subscribers].map(lag)
    if (Math.min(...lags) > 0.25) return
    for (const subscriber of this.#subscribers) {
      if (lag(subscriber) >= 0.5) this.#cutOff(subscriber, 'lag')
    }
  }

  #watchStalls(): void {
    this.#stallTimer ??= this.#options.clock.setTimeout(this.#checkStalls, STALL_CHECK_MS)
  }

  readonly #checkStalls = (): void => {
    this.#stallTimer = undefined
    const nowMs = this.#options.clock.monotonic()
    let isAnyPending = false
    for (const subscriber of this.#subscribers) {
      if (!subscriber.hasPending) subscriber.progressAtMs = nowMs
      else if (nowMs - subscriber.progressAtMs >= STALL_MS) this.#cutOff(subscriber, 'stall')
      else isAnyPending = true
    }
    this.#free()
    if (isAnyPending) this.#watchStalls()
  }

  #cutOff(subscriber: Subscriber, cause: 'lag' | 'stall'): void {
    this.#cut[cause].value++
    this.#lingering++
    const missedEvents = this.#window.end - subscriber.floor
    this.#remove(subscriber, 'subscriber: too slow, cut off', { cause, missedEvents })
    subscriber.stream.end(
      status.RESOURCE_EXHAUSTED,
      cause === 'lag'
        ? `Too slow: ${missedEvents} events behind while others keep up. Subscribe again, read faster or filter.`
        : `Nothing was read for ${STALL_MS / 1000} s; ${missedEvents} events behind. Subscribe again.`,
    )
  }

  #remove(
    subscriber: Subscriber,
    message: string,
    fields: Readonly<Record<string, unknown>> = {},
  ): void {
    subscriber.isGone = true
    this.#subscribers.delete(subscriber)
    this.#options.log.info(message, {
      destination: this.name,
      subscriber: subscriber.subscription.name,
      subscribers: this.#subscribers.size,
      writtenEvents: subscriber.written,
      ...fields,
    })
    this.#free()
  }
}
