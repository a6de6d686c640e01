import type { Counter, Random } from '../../base/index.ts'
import type { DestinationOptions } from '../destination-options.ts'
import { EventFilter, type Wanted, warnOfUnknownEvents } from '../event-filter.ts'
import { EventMessageWriter } from '../event-message.ts'
import type { EventQueue } from '../event-queue.ts'
import { GuildReader } from '../guild-reader.ts'
import { Intake } from '../intake.ts'
import { type PayloadEncoding, type PayloadForm, payloadWriter } from '../payload.ts'
import type { Destination, DestinationStats, PushEvent, Undelivered, WhenFull } from '../ports.ts'
import { ConsumerClient, type TlsOptions } from './consumer-client.ts'
import { type ConsumerLink, StreamLink, UnaryLink, type Window } from './consumer-link.ts'

const CONNECT_TIMEOUT_MS = 30_000
const DEADLINE_MS = 15_000
const STREAM_WINDOW: Window = { eventsMax: 2048, bytesMax: 8 * 1024 * 1024 }
/** One call at a time: handlers of several would run in any order. */
const UNARY_WINDOW: Window = { eventsMax: 1, bytesMax: Number.POSITIVE_INFINITY }

export interface GrpcPushOptions extends DestinationOptions {
  /** The consumers, host:port each. */
  readonly addresses: readonly string[]
  readonly tls?: TlsOptions | undefined
  /** `push`: gateway.Queue/Push, a call for each event; `stream`: gateway.Queue/PushStream. */
  readonly method: 'push' | 'stream'
  /** `turn`: whoever has room; `guild`: all events of a guild go to one consumer, in order. */
  readonly spread: 'turn' | 'guild'
  /** Before the event name in the key of `push`. Default `gateway:events:`. */
  readonly keyPrefix?: string | undefined
  /** What `push` sends; a stream sends gateway.Event with `d` in the encoding. */
  readonly payload: PayloadForm
  readonly encoding: PayloadEncoding
  readonly window?: Window | undefined
  readonly deadlineMs?: number | undefined
  readonly connectTimeoutMs?: number | undefined
  readonly random: Random
}

/**
 * Consumers that serve gateway.Queue (proto/queue.proto); the gateway is their client. An event is accepted when
 * its call or its batch was answered; what was not answered is sent again, before anything else of its channel.
 *
 *   turn    channel 0 ──► whichever consumer has room       order only with one consumer
 *   guild   channel n ──► consumer n, waits while it is away    order per guild
 */
export class GrpcPushDestination implements Destination {
  readonly name: string
  readonly isRequired: boolean
  readonly whenFull: WhenFull
  onFreed: () => void = () => undefined
  readonly #options: GrpcPushOptions
  readonly #intake: Intake
  readonly #queue: EventQueue
  readonly #clients: readonly ConsumerClient[]
  readonly #links: readonly ConsumerLink[]
  readonly #guilds = new GuildReader()
  /** By channel: what came back unanswered, oldest first. */
  readonly #returned: number[][]
  readonly #keys: Buffer[] = []
  readonly #flushes: Counter
  readonly #retries: Counter
  #turn = 0
  #isClosed = false
  #onIdle: (() => void) | undefined

  /** @throws PushError PUSH_CERTIFICATE */
  constructor(options: GrpcPushOptions) {
    const { name, counters, addresses, method, spread, encoding, log } = options
    const isStream = method === 'stream'
    this.name = name
    this.isRequired = options.isRequired ?? true
    this.whenFull = options.whenFull ?? 'block'
    this.#options = options
    this.#intake = new Intake({
      ...options,
      destination: name,
      filter: new EventFilter({ ...options, destination: name }),
      payload: isStream
        ? new EventMessageWriter(encoding === 'json' ? 'json' : 'etf')
        : payloadWriter(options.payload, encoding),
      keepsShardOrder: true,
      channelOf: (_, event) => this.#channelOf(event),
      lateChannelOf: (_, channel) => channel % this.#returned.length,
    })
    this.#intake.onFreed = () => this.onFreed()
    this.#intake.onReady = () => this.#sendSoon()
    this.#queue = this.#intake.queue
    this.#returned = (spread === 'guild' ? addresses : ['']).map(() => [])
    this.#flushes = counters.counter('gateway_push_flushes_total', { destination: name })
    this.#retries = counters.counter('gateway_push_retries_total', { destination: name })
    this.#clients = addresses.map((address) => new ConsumerClient(address, options.tls))
    this.#links = this.#clients.map((client, index) => {
      const linkOptions = {
        client,
        queue: this.#queue,
        window: windowOf(options),
        deadlineMs: options.deadlineMs ?? DEADLINE_MS,
        keyOf: (slot: number) => this.#keyOf(slot),
        onAccepted: this.#onAccepted,
        onRefused: this.#onRefused,
        onReturned: (slots: readonly number[]) => this.#onReturned(index, slots),
        onRoom: () => this.#sendSoon(),
        clock: options.clock,
        random: options.random,
        log: log.child({ destination: name }),
      }
      return isStream ? new StreamLink(linkOptions) : new UnaryLink(linkOptions)
    })
    counters.gauge('gateway_push_up', () => (this.#isUp ? 1 : 0), { destination: name })
    warnOfUnknownEvents(options.events ?? [], log, { destination: name })
  }

  get hasRoom(): boolean {
    return this.#queue.hasRoom
  }

  get isHalfFree(): boolean {
    return this.#queue.isHalfFree
  }

  get #isUp(): boolean {
    const isUp = (link: ConsumerLink): boolean => link.isUp
    return this.#options.spread === 'guild' ? this.#links.every(isUp) : this.#links.some(isUp)
  }

  /** Where it is required, waits for every consumer, or with `turn` for one. */
  async start(waits = this.isRequired): Promise<void> {
    if (!waits) return
    const { clock, random, spread, connectTimeoutMs = CONNECT_TIMEOUT_MS } = this.#options
    const reached = this.#clients.map((client) =>
      client.reach({ timeoutMs: connectTimeoutMs, clock, random }),
    )
    if (spread === 'guild') {
      await Promise.all(reached)
      return
    }
    try {
      await Promise.any(reached)
    } catch (error) {
      throw error instanceof AggregateError ? (error.errors[0] as Error) : error
    }
  }

  setWanted(wanted: Wanted): void {
    const { log } = this.#options
    this.#intake.filter = this.#intake.filter.with(wanted)
    warnOfUnknownEvents(wanted.events ?? [], log, { destination: this.name })
  }

  push(event: PushEvent, lane: number, ticket: number): void {
    if (this.#intake.take(event, lane, ticket)) this.#sendSoon()
  }

  settle(lane: number, ticket: number): void {
    if (this.#queue.settle(lane, ticket)) this.#sendSoon()
  }

  async drain(deadlineMs: number): Promise<Undelivered> {
    const { clock } = this.#options
    if (!this.#intake.isIdle) {
      const { promise, resolve } = Promise.withResolvers<void>()
      this.#onIdle = resolve
      const timer = clock.setTimeout(resolve, deadlineMs)
      await promise
      clock.clearTimeout(timer)
    }
    this.#isClosed = true
    await Promise.all(this.#links.map((link) => link.close()))
    for (const client of this.#clients) client.close()
    return this.#intake.close()
  }

  stats(): DestinationStats {
    return {
      destination: this.name,
      isUp: this.#isUp,
      queuedEvents: this.#queue.events,
      queuedBytes: this.#queue.bytes,
      arenaBytes: this.#queue.arena.allocatedBytes,
      takenEvents: this.#intake.takenEvents,
      deliveredEvents: this.#intake.delivered.value,
      droppedEvents: this.#intake.droppedEvents,
      spilledEvents: this.#intake.spilledEvents,
      flushes: this.#flushes.value,
      retries: this.#retries.value,
    }
  }

  #isScheduled = false

  /** At the end of this turn of the event loop, so that what a read of the socket brought leaves together. */
  #sendSoon(): void {
    if (this.#isScheduled || this.#isClosed) return
    this.#isScheduled = true
    setImmediate(this.#send)
  }

  readonly #send = (): void => {
    this.#isScheduled = false
    if (this.#isClosed) return
    const links = this.#links
    if (this.#options.spread === 'guild') {
      for (const [channel, link] of links.entries()) {
        while (link.hasRoom && this.#hasReady(channel)) this.#sendBatch(channel, link)
      }
      return
    }
    for (let full = 0; full < links.length && this.#hasReady(0); ) {
      const link = links[this.#turn]!
      this.#turn = (this.#turn + 1) % links.length
      if (link.hasRoom) {
        this.#sendBatch(0, link)
        full = 0
      } else {
        full++
      }
    }
  }

  #hasReady(channel: number): boolean {
    return this.#returned[channel]!.length > 0 || this.#queue.count(channel) > 0
  }

  #sendBatch(channel: number, link: ConsumerLink): void {
    const { batchEventsMax, batchBytesMax } = link
    const queue = this.#queue
    const returned = this.#returned[channel]!
    const slots: number[] = []
    let bytes = 0
    while (slots.length < batchEventsMax && bytes < batchBytesMax && this.#hasReady(channel)) {
      const slot = returned.shift() ?? queue.shift(channel)
      bytes += queue.lengthOf(slot)
      slots.push(slot)
    }
    this.#flushes.value++
    link.send(slots)
  }

  readonly #onAccepted = (slots: readonly number[]): void => {
    for (const slot of slots) this.#queue.finish(slot)
    this.#intake.delivered.value += slots.length
    this.#onFinished()
  }

  readonly #onRefused = (slots: readonly number[], cause: string): void => {
    for (const slot of slots) {
      this.#options.log.warn('consumer: refuses an event for good', {
        destination: this.name,
        shardId: this.#queue.shardOf(slot),
        sequence: this.#queue.sequenceOf(slot),
        cause,
      })
      this.#intake.dropSlot(slot, 'refused')
    }
    this.#onFinished()
  }

  #onReturned(index: number, slots: readonly number[]): void {
    const channel = this.#options.spread === 'guild' ? index : 0
    this.#retries.value++
    this.#returned[channel]!.unshift(...slots)
  }

  #onFinished(): void {
    this.#queue.compactIfSparse()
    this.#intake.onTaken()
    this.onFreed()
    if (this.#intake.isIdle) this.#onIdle?.()
    this.#sendSoon()
  }

  #channelOf(event: PushEvent): number {
    const { spread, addresses } = this.#options
    if (spread === 'turn' || addresses.length === 1) return 0
    const guildId = this.#guilds.read(event.eventName, event.bytes, event.start, event.end)
    return guildId === null
      ? event.shardId % addresses.length
      : Number((guildId >> 22n) % BigInt(addresses.length))
  }

  #keyOf(slot: number): Buffer {
    const name = this.#queue.nameOf(slot)
    const { keyPrefix = 'gateway:events:' } = this.#options
    return (this.#keys[name] ??= Buffer.from(keyPrefix + this.#intake.names.names[name]!))
  }
}

/** Where a policy makes room, half of the queue at most is under way and half is not. */
function windowOf({ window, method, whenFull, limits }: GrpcPushOptions): Window {
  const own = window ?? (method === 'stream' ? STREAM_WINDOW : UNARY_WINDOW)
  if (whenFull !== 'drop-oldest' && whenFull !== 'spill') return own
  return {
    eventsMax: Math.max(1, Math.min(own.eventsMax, limits.eventsMax / 2)),
    bytesMax: Math.min(own.bytesMax, limits.bytesMax / 2),
  }
}
