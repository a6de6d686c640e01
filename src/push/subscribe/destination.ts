import { status } from '@grpc/grpc-js'
import type { Counter, Timer } from '../../base/index.ts'
import type { DestinationOptions } from '../destination-options.ts'
import { EventFilter, type Wanted, warnOfUnknownEvents } from '../event-filter.ts'
import { Intake } from '../intake.ts'
import type { Destination, DestinationStats, PushEvent, Undelivered, WhenFull } from '../ports.ts'
import { EventMessageWriter } from '../event-message.ts'
import { EventWindow } from './event-window.ts'
import { EventFields } from '../event-fields.ts'
import { DurableSubscription } from './durable-subscription.ts'
import type { EventStream, Reader } from './reader.ts'
import { STALL_MS, Subscriber } from './subscriber.ts'
import type { Subscription } from './subscribe-request.ts'

const SUBSCRIBERS_MAX = 1000
const DURABLE_MAX = 100
const STALL_CHECK_MS = 1_000

export type SubscribeOptions = DestinationOptions

/** What the owner of a stream calls back. */
export interface StreamLink {
  onDrain(): void
  onGone(): void
  /** Consume only. @param number of the last event that is taken. */
  onAcknowledge(number: number): void
}

/**
 * gRPC subscribers of this process (`gateway.Events`, Subscribe and Consume). One bounded queue that all read. An
 * event is accepted when it has left for every subscriber that wants it, and every durable subscription that
 * wants it has acknowledged it; with nobody there it is dropped and counted, which is no gap: nobody asked for it.
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
  readonly #fields = new EventFields()
  readonly #readers = new Set<Reader>()
  readonly #durable = new Map<string, DurableSubscription>()
  /** By subscription without a stream: when it is given up. */
  readonly #expiry = new Map<string, Timer>()
  #streams = 0
  /** What an earlier process left is kept until somebody is there to read it. */
  #hadReader = false
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
      filter: new EventFilter({ ...options, destination: name, isDecidedBehind: true }),
      payload: new EventMessageWriter('etf'),
      keepsShardOrder: true,
      channelOf: () => 0,
    })
    this.#intake.onFreed = () => this.onFreed()
    this.#intake.onReady = () => this.#advance()
    // Where a policy makes room, half of the queue is on its way to subscribers and half is not.
    const share = this.whenFull === 'drop-oldest' || this.whenFull === 'spill' ? 0.5 : 1
    this.#window = new EventWindow(this.#intake.queue, this.#intake.names, {
      events: options.limits.eventsMax * share,
      bytes: options.limits.bytesMax * share,
    })
    counters.gauge('gateway_push_subscriptions', () => this.#durable.size, { destination: name })
    counters.gauge('gateway_push_subscribers', () => this.#streams, { destination: name })
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
   * Adds a stream: a subscriber that gets what becomes ready from now on, or one more stream of a durable
   * subscription, which begins now if there is none of this name.
   *
   * @returns null when there are too many or the gateway is stopping (the stream was ended).
   */
  subscribe(subscription: Subscription, stream: EventStream): StreamLink | null {
    if (this.#isClosed) {
      stream.end(status.UNAVAILABLE, 'The gateway is stopping: subscribe again.')
      return null
    }
    if (this.#streams + this.#lingering >= SUBSCRIBERS_MAX) {
      stream.end(status.RESOURCE_EXHAUSTED, `There are ${SUBSCRIBERS_MAX} subscribers already.`)
      return null
    }
    const { durable } = subscription
    const isNew = durable !== null && !this.#durable.has(durable.name)
    if (isNew && this.#durable.size >= DURABLE_MAX) {
      stream.end(status.RESOURCE_EXHAUSTED, `There are ${DURABLE_MAX} subscriptions already.`)
      return null
    }
    const isFirst = !this.#hadReader
    if (isFirst) setImmediate(() => this.#advance())
    else this.#window.fill()
    this.#hadReader = true
    this.#streams++
    const link =
      durable === null ? this.#add(subscription, stream) : this.#join(subscription, stream)
    this.#say('subscriber: connected', subscription)
    if (subscription.unknownEvents.length > 0) {
      this.#options.log.warn('subscriber: asks for event names that are not known', {
        destination: this.name,
        subscriber: subscription.name,
        events: subscription.unknownEvents,
      })
    }
    return link
  }

  #add(subscription: Subscription, stream: EventStream): StreamLink {
    const subscriber = new Subscriber({
      subscription,
      stream,
      next: this.#window.end,
      now: () => this.#options.clock.monotonic(),
      onTaken: (reader, ordinal) => {
        this.#window.markTaken(ordinal)
        if (!reader.isCongested) this.#pumpOnly(reader)
        // Only who held the oldest event can have freed it.
        if (ordinal === this.#window.base) this.#free()
      },
    })
    this.#readers.add(subscriber)
    return {
      onDrain: () => {
        subscriber.isCongested = false
        if (!subscriber.isGone) this.#pump(subscriber)
      },
      onGone: () => {
        if (subscriber.isGone) {
          this.#lingering--
          return
        }
        subscriber.isGone = true
        this.#streams--
        this.#remove(subscriber, 'subscriber: gone')
      },
      onAcknowledge: () => undefined,
    }
  }

  #join(subscription: Subscription, stream: EventStream): StreamLink {
    const { clock } = this.#options
    const { name } = subscription.durable!
    let durable = this.#durable.get(name)
    if (durable === undefined) {
      durable = new DurableSubscription({
        subscription,
        next: this.#window.end,
        onTaken: (ordinal) => this.#window.markTaken(ordinal),
      })
      this.#durable.set(name, durable)
      this.#readers.add(durable)
    }
    clock.clearTimeout(this.#expiry.get(name))
    this.#expiry.delete(name)
    const reader = durable
    const member = reader.join(subscription, stream, clock.monotonic())
    // Once the stream has told the client that it is subscribed.
    setImmediate(() => this.#pump(reader))
    return {
      onDrain: () => {
        member.isCongested = false
        this.#pump(reader)
      },
      onGone: () => {
        this.#streams--
        reader.leave(member)
        this.#say('subscriber: gone', reader.subscription, { writtenEvents: reader.written })
        if (this.#durable.get(name) !== reader) return
        if (reader.members.size === 0) this.#expire(name, reader)
        else this.#pump(reader)
      },
      onAcknowledge: (number) => {
        reader.acknowledge(member, number - 1, clock.monotonic())
        this.#pump(reader)
      },
    }
  }

  /** A subscription without a stream is kept for a while only. */
  #expire(name: string, durable: DurableSubscription): void {
    const { keepMs } = durable.subscription.durable!
    this.#expiry.set(
      name,
      this.#options.clock.setTimeout(() => {
        this.#expiry.delete(name)
        const missedEvents = durable.skipTo(this.#window.end, this.#window)
        this.#remove(durable, 'subscriber: subscription given up', { missedEvents })
      }, keepMs),
    )
  }

  setWanted(wanted: Wanted): void {
    const { log } = this.#options
    this.#intake.filter = this.#intake.filter.with(wanted)
    warnOfUnknownEvents(wanted.events ?? [], log, { destination: this.name })
  }

  push(event: PushEvent, lane: number, ticket: number): void {
    const intake = this.#intake
    if (!intake.filter.wants(event)) return
    const name = intake.names.admit(event.eventName)
    if (name >= 0) {
      if (this.#readers.size === 0) {
        if (isNews(event)) intake.discard(event.eventName, 'no_subscriber')
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
    this.#advance()
    if (!this.#intake.isIdle) {
      const { promise, resolve } = Promise.withResolvers<void>()
      this.#onIdle = resolve
      const timer = clock.setTimeout(resolve, deadlineMs)
      await promise
      clock.clearTimeout(timer)
    }
    this.#isClosed = true
    clock.clearTimeout(this.#stallTimer)
    this.#stallTimer = undefined
    for (const timer of this.#expiry.values()) clock.clearTimeout(timer)
    for (const reader of this.#readers) {
      reader.end(status.UNAVAILABLE, 'The gateway is stopping: subscribe again.')
    }
    this.#readers.clear()
    this.#durable.clear()
    return this.#intake.close()
  }

  stats(): DestinationStats {
    const { queue } = this.#intake
    return {
      destination: this.name,
      isUp: this.#streams > 0,
      queuedEvents: queue.events,
      queuedBytes: queue.bytes,
      arenaBytes: queue.arena.allocatedBytes,
      takenEvents: this.#intake.takenEvents,
      deliveredEvents: this.#intake.delivered.value,
      droppedEvents: this.#intake.droppedEvents,
      spilledEvents: this.#intake.spilledEvents,
      flushes: 0,
      retries: 0,
    }
  }

  #isWanted(name: number, event: PushEvent): boolean {
    const { eventName, guildClass, shardId, bytes, start, end } = event
    let isRead = false
    for (const { filter } of this.#readers) {
      if (!filter.takesEnvelope(name, eventName, guildClass, shardId)) continue
      if (!filter.needsFields) return true
      if (!isRead) this.#fields.read(eventName, bytes, start, end)
      isRead = true
      if (filter.takesFields(this.#fields)) return true
    }
    return false
  }

  /** Something became ready. */
  #advance(): void {
    if (!this.#hadReader) return
    this.#window.fill()
    for (const reader of this.#readers) this.#pumpOnly(reader)
    this.#endLaggards()
    this.#free()
  }

  #pump(reader: Reader): void {
    if (!this.#readers.has(reader)) return
    this.#pumpOnly(reader)
    this.#free()
  }

  #pumpOnly(reader: Reader): void {
    reader.pump(this.#window)
    if (reader.hasPending) this.#watchStalls()
  }

  /** Finishes what no subscriber still waits for. */
  #free(): void {
    const window = this.#window
    let floor = window.end
    for (const reader of this.#readers) floor = Math.min(floor, reader.floor)
    if (window.base === floor) return
    const intake = this.#intake
    while (window.base < floor) {
      const { slot, outcome } = window.shift()
      if (outcome === 'failed' || outcome === 'skipped') {
        intake.dropSlot(slot, outcome === 'failed' ? 'encoding' : 'slow_subscriber')
        continue
      }
      if (outcome === 'taken') intake.delivered.value++
      else intake.count(intake.names.names[intake.queue.nameOf(slot)]!, 'no_subscriber')
      intake.queue.finish(slot)
    }
    intake.onTaken()
    this.onFreed()
    if (intake.isIdle) this.#onIdle?.()
    else if (window.fill()) this.#advance()
  }

  /**
   * Who is behind by half the queue is ended while another one is not behind by half of that; or drops its oldest
   * until it is no longer; or is waited for.
   */
  #endLaggards(): void {
    const { eventsMax, bytesMax } = this.#options.limits
    const window = this.#window
    if (window.end - window.base < eventsMax / 2 && window.bytesFrom(window.base) < bytesMax / 2) {
      return
    }
    const lag = (ordinal: number): number =>
      Math.max((window.end - ordinal) / eventsMax, window.bytesFrom(ordinal) / bytesMax)
    const lags = [...this.#readers].map((reader) => lag(reader.floor))
    const isAnyQuick = Math.min(...lags) <= 0.25
    for (const reader of this.#readers) {
      if (lag(reader.floor) < 0.5) continue
      const { durable } = reader.subscription
      if (durable?.whenSlow === 'drop-oldest' && reader instanceof DurableSubscription) {
        let to = reader.floor
        while (lag(to) > 0.25) to++
        const dropped = reader.skipTo(to, window)
        this.#dropped(durable.name).value += dropped
      } else if (durable?.whenSlow !== 'block' && isAnyQuick) {
        this.#cutOff(reader, 'lag')
      }
    }
  }

  #dropped(subscription: string): Counter {
    return this.#options.counters.counter('gateway_push_subscription_dropped_events_total', {
      destination: this.name,
      subscription,
    })
  }

  #watchStalls(): void {
    this.#stallTimer ??= this.#options.clock.setTimeout(this.#checkStalls, STALL_CHECK_MS)
  }

  readonly #checkStalls = (): void => {
    this.#stallTimer = undefined
    const nowMs = this.#options.clock.monotonic()
    let isAnyPending = false
    for (const reader of this.#readers) {
      if (reader.endStalled(nowMs)) this.#cutOff(reader, 'stall')
      else if (reader.hasPending) isAnyPending = true
    }
    this.#free()
    if (isAnyPending) this.#watchStalls()
  }

  #cutOff(reader: Reader, cause: 'lag' | 'stall'): void {
    this.#cut[cause].value++
    const missedEvents = this.#window.end - reader.floor
    if (reader instanceof Subscriber) {
      this.#lingering++
      this.#streams--
    }
    this.#remove(reader, 'subscriber: too slow, cut off', { cause, missedEvents })
    reader.end(
      status.RESOURCE_EXHAUSTED,
      cause === 'lag'
        ? `Too slow: ${missedEvents} events behind while others keep up. Subscribe again, read faster or filter.`
        : `Nothing was read for ${STALL_MS / 1000} s; ${missedEvents} events behind. Subscribe again.`,
    )
  }

  #remove(reader: Reader, message: string, fields: Readonly<Record<string, unknown>> = {}): void {
    this.#readers.delete(reader)
    const { durable } = reader.subscription
    if (durable !== null) this.#durable.delete(durable.name)
    this.#say(message, reader.subscription, { writtenEvents: reader.written, ...fields })
    this.#free()
  }

  #say(
    message: string,
    { name, durable }: Subscription,
    fields: Readonly<Record<string, unknown>> = {},
  ): void {
    this.#options.log.info(message, {
      destination: this.name,
      subscriber: name,
      ...(durable === null ? {} : { subscription: durable.name }),
      subscribers: this.#streams,
      ...fields,
    })
  }
}

/**
 * What somebody might miss who is not there. A member chunk answers a request; who did not ask does not get it, and
 * a GUILD_CREATE that is no join goes to who asks for its class.
 */
function isNews({ eventName, guildClass }: PushEvent): boolean {
  if (eventName === 'GUILD_MEMBERS_CHUNK') return false
  return eventName !== 'GUILD_CREATE' || guildClass === 'joined'
}
