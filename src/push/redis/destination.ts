import { type ChainableCommander, type Command, ReplyError } from 'ioredis'
import {
  backoffMs,
  type Clock,
  type Counter,
  type Counters,
  type Log,
  type Random,
  type Timer,
} from '../../base/index.ts'
import { isEventName } from '../../discord/index.ts'
import { EventFilter, warnOfUnknownEvents } from '../event-filter.ts'
import type { EventQueue, QueueLimits } from '../event-queue.ts'
import { Intake } from '../intake.ts'
import { type PayloadEncoding, type PayloadForm, payloadWriter } from '../payload.ts'
import type {
  AckLanes,
  Destination,
  DestinationStats,
  PushDrop,
  PushEvent,
  Undelivered,
} from '../ports.ts'
import { RedisConnection } from './connection.ts'
import { Refusals, refusalCode } from './refusals.ts'
import { RpushCommand, rpushHead, WIRE_BYTES_PER_PAYLOAD, writeRpush } from './rpush-command.ts'

/** A flush leaves when this much is ready, or FLUSH_LINGER_MS after the first event. perf.md §§4, 6 */
const FLUSH_EVENTS = 512
const FLUSH_BYTES = 1024 * 1024
const FLUSH_LINGER_MS = 5
/** Each key's turn in a flush, so that one busy key does not keep the others waiting. */
const TURN_EVENTS = 32
const KEY_BACKOFF = { baseMs: 100, maxMs: 5_000 }
/** While draining a refused key is tried again sooner. */
const DRAIN_BACKOFF_MS = 200
/** A replica is left for whatever the address means now, no more often than this. */
const READONLY_RESET_INTERVAL_MS = 5_000
const COMMAND_TIMEOUT_MS = 15_000
/** What the wire buffer may keep of a large flush. */
const WIRE_BYTES_KEPT_MAX = 4 * FLUSH_BYTES

export interface RedisListOptions {
  /** Label in logs and metrics. */
  readonly name: string
  /** host:port, redis:// or rediss://. */
  readonly address: string
  readonly connectionName: string
  /** Before the event name in the key. Default `gateway:events:`. */
  readonly keyPrefix?: string | undefined
  readonly payload: PayloadForm
  readonly encoding: PayloadEncoding
  /** Names to push; undefined = all. */
  readonly events?: readonly string[] | undefined
  readonly limits: QueueLimits
  /** Whether a full queue stops the shards. Default true. */
  readonly isRequired?: boolean | undefined
  readonly acks: AckLanes
  readonly onDrop: (drop: PushDrop) => void
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  readonly counters: Counters
  readonly commandTimeoutMs?: number | undefined
  readonly connectTimeoutMs?: number | undefined
}

/**
 * Redis lists: `RPUSH gateway:events:<EVENT> payload…`, one variadic command per key and flush, one flush
 * in flight. An event is accepted when its RPUSH was answered. A key that was answered with an error is
 * tried again by itself; after a broken connection everything unconfirmed is sent again, in order.
 */
export class RedisListDestination implements Destination {
  readonly name: string
  readonly isRequired: boolean
  onFreed: () => void = () => undefined
  readonly #options: RedisListOptions
  readonly #connection: RedisConnection
  readonly #intake: Intake
  readonly #queue: EventQueue
  readonly #refusals: Refusals
  readonly #flushes: Counter
  readonly #retries: Counter

  /** By channel (= number of the event's name). */
  readonly #keys: string[] = []
  readonly #heads: Buffer[] = []
  readonly #attempts: number[] = []
  readonly #retryAtMs: number[] = []
  readonly #lengths: number[] = []

  /** The flush in flight: channels, how many events of each, and the first one that was not counted yet. */
  readonly #batch: number[] = []
  readonly #batchCounts: number[] = []
  readonly #batchCursors: number[] = []
  #wire = Buffer.allocUnsafeSlow(64 * 1024)
  #isInFlight = false
  /** What the last flush left behind though it had room: keys that wait for another try. */
  #stuckEvents = 0
  #stuckBytes = 0
  /** Flushes in a row of which nothing was confirmed; each halves the next, so that a poor line gets on. */
  #unconfirmed = 0
  #turn = 0
  #timer: Timer | undefined
  #timerAtMs = 0
  /** The timer is set for the end of a linger, not only for a refused key's next try. */
  #isLingering = false
  #isDraining = false
  #isClosed = false
  #onIdle: (() => void) | undefined
  #resetAtMs = Number.NEGATIVE_INFINITY

  constructor(options: RedisListOptions) {
    const { name, log, clock, counters } = options
    this.name = name
    this.isRequired = options.isRequired ?? true
    this.#options = options
    this.#connection = new RedisConnection({
      ...options,
      destination: name,
      commandTimeoutMs: options.commandTimeoutMs ?? COMMAND_TIMEOUT_MS,
    })
    this.#connection.onUp = () => this.#flushSoon()
    this.#intake = new Intake({
      ...options,
      destination: name,
      filter: new EventFilter(options),
      payload: payloadWriter(options.payload, options.encoding),
      keepsShardOrder: false,
    })
    this.#queue = this.#intake.queue
    this.#refusals = new Refusals({ log: log.child({ destination: name }), clock })
    this.#flushes = counters.counter('gateway_push_flushes_total', { destination: name })
    this.#retries = counters.counter('gateway_push_retries_total', { destination: name })
    counters.gauge('gateway_push_up', () => (this.#connection.isUp ? 1 : 0), { destination: name })
    warnOfUnknownEvents(options.events ?? [], log, { destination: name })
  }

  get hasRoom(): boolean {
    return this.#queue.hasRoom
  }

  get isHalfFree(): boolean {
    return this.#queue.isHalfFree
  }

  /** Waits for the server only where it is required; else it may come whenever it comes. */
  async start(): Promise<void> {
    if (this.isRequired) await this.#connection.connect()
    else this.#connection.open()
  }

  push(event: PushEvent, lane: number, ticket: number): void {
    if (this.#intake.take(event, lane, ticket, false)) this.#flushSoon()
  }

  settle(lane: number, ticket: number): void {
    if (this.#queue.settle(lane, ticket)) this.#flushSoon()
  }

  drop(event: PushEvent, cause: string): void {
    this.#intake.drop(event, cause)
  }

  async drain(deadlineMs: number): Promise<Undelivered> {
    const { clock } = this.#options
    this.#isDraining = true
    if (this.#queue.events > 0) {
      const { promise, resolve } = Promise.withResolvers<void>()
      this.#onIdle = resolve
      const timer = clock.setTimeout(resolve, deadlineMs)
      this.#retryAtMs.fill(0)
      this.#wakeAt(clock.monotonic())
      await promise
      clock.clearTimeout(timer)
    }
    this.#isClosed = true
    clock.clearTimeout(this.#timer)
    this.#connection.close()
    return { destination: this.name, events: this.#queue.events, bytes: this.#queue.bytes }
  }

  stats(): DestinationStats {
    return {
      destination: this.name,
      isUp: this.#connection.isUp,
      queuedEvents: this.#queue.events,
      queuedBytes: this.#queue.bytes,
      arenaBytes: this.#queue.arena.allocatedBytes,
      takenEvents: this.#intake.takenEvents,
      deliveredEvents: this.#intake.delivered.value,
      droppedEvents: this.#intake.droppedEvents,
      flushes: this.#flushes.value,
      retries: this.#retries.value,
    }
  }

  /** Something is ready: flush now if it is enough, else within the linger. */
  #flushSoon(): void {
    if (this.#isInFlight || !this.#connection.isUp || this.#queue.readyEvents === 0) return
    const isEnough =
      this.#queue.readyEvents - this.#stuckEvents >= FLUSH_EVENTS ||
      this.#queue.readyBytes - this.#stuckBytes >= FLUSH_BYTES
    if (isEnough || this.#isDraining) this.#flush()
    else if (!this.#isLingering) {
      this.#isLingering = true
      this.#wakeAt(this.#options.clock.monotonic() + FLUSH_LINGER_MS)
    }
  }

  #wakeAt(atMs: number): void {
    const { clock } = this.#options
    if (this.#timer !== undefined) {
      if (this.#timerAtMs <= atMs) return
      clock.clearTimeout(this.#timer)
    }
    this.#timerAtMs = atMs
    this.#timer = clock.setTimeout(this.#onTimer, Math.max(0, Math.ceil(atMs - clock.monotonic())))
  }

  readonly #onTimer = (): void => {
    this.#timer = undefined
    this.#isLingering = false
    this.#flush()
  }

  #flush(): void {
    if (this.#isInFlight || this.#isClosed || !this.#connection.isUp) return
    const wireBytes = this.#choose()
    if (this.#batch.length === 0) return
    this.#isInFlight = true
    this.#flushes.value++
    if (this.#wire.length < wireBytes) this.#wire = Buffer.allocUnsafeSlow(wireBytes)
    // ioredis types its pipeline by commands only; sendCommand is how it is fed (ioredis/built/Pipeline.d.ts).
    const pipeline = this.#connection.client.pipeline() as ChainableCommander & {
      sendCommand(command: Command): unknown
    }
    let pos = 0
    for (let index = 0; index < this.#batch.length; index++) {
      const channel = this.#batch[index]!
      const start = pos
      pos = writeRpush(
        this.#wire,
        pos,
        this.#heads[channel]!,
        this.#queue,
        channel,
        this.#batchCounts[index]!,
      )
      pipeline.sendCommand(new RpushCommand(this.#keys[channel]!, this.#wire.subarray(start, pos)))
    }
    // The pipeline joins what it writes into a buffer of its own before exec() returns, so the wire buffer
    // and the arena may change while the answers are on their way.
    pipeline.exec().then(this.#onAnswers, this.#onAnswers)
    if (this.#wire.length > WIRE_BYTES_KEPT_MAX) this.#wire = Buffer.allocUnsafeSlow(64 * 1024)
  }

  /**
   * Fills the batch: keys in turn, TURN_EVENTS each, until the flush is full.
   *
   * @returns bytes that its commands take on the wire, at most.
   */
  #choose(): number {
    const queue = this.#queue
    const nowMs = this.#options.clock.monotonic()
    this.#batch.length = 0
    this.#batchCounts.length = 0
    this.#batchCursors.length = 0
    let wireBytes = 0
    let retryAtMs = Number.POSITIVE_INFINITY
    const active = queue.activeChannels
    this.#turn = (this.#turn + 1) % Math.max(1, active.length)
    for (let index = 0; index < active.length; index++) {
      const channel = active[(this.#turn + index) % active.length]!
      if (this.#heads[channel] === undefined) this.#openChannel(channel)
      if (this.#retryAtMs[channel]! > nowMs) {
        retryAtMs = Math.min(retryAtMs, this.#retryAtMs[channel]!)
        continue
      }
      this.#batch.push(channel)
      this.#batchCounts.push(0)
      this.#batchCursors.push(queue.head(channel))
      wireBytes += this.#heads[channel]!.length + WIRE_BYTES_PER_PAYLOAD
    }
    let events = 0
    let bytes = 0
    const eventsMax = Math.max(1, FLUSH_EVENTS >> this.#unconfirmed)
    const bytesMax = Math.max(1, FLUSH_BYTES >> this.#unconfirmed)
    for (let isMore = true; isMore && events < eventsMax && bytes < bytesMax; ) {
      isMore = false
      for (let index = 0; index < this.#batch.length; index++) {
        // A key that was refused is probed with one event.
        const isProbe = this.#attempts[this.#batch[index]!]! > 0
        const turnEvents = isProbe ? Math.min(1, 1 - this.#batchCounts[index]!) : TURN_EVENTS
        let slot = this.#batchCursors[index]!
        let taken = 0
        while (slot !== -1 && taken < turnEvents && events < FLUSH_EVENTS && bytes < FLUSH_BYTES) {
          bytes += queue.lengthOf(slot)
          events++
          taken++
          slot = queue.next(slot)
        }
        this.#batchCursors[index] = slot
        this.#batchCounts[index]! += taken
        if (taken > 0) isMore = true
      }
    }
    this.#leaveOutEmpty()
    const isFull = events >= eventsMax || bytes >= bytesMax
    this.#stuckEvents = isFull ? 0 : queue.readyEvents - events
    this.#stuckBytes = isFull ? 0 : queue.readyBytes - bytes
    if (retryAtMs < Number.POSITIVE_INFINITY) this.#wakeAt(retryAtMs)
    return wireBytes + bytes + events * WIRE_BYTES_PER_PAYLOAD
  }

  /** Keys that the flush had no room for. */
  #leaveOutEmpty(): void {
    let kept = 0
    for (let index = 0; index < this.#batch.length; index++) {
      if (this.#batchCounts[index] === 0) continue
      this.#batch[kept] = this.#batch[index]!
      this.#batchCounts[kept] = this.#batchCounts[index]!
      kept++
    }
    this.#batch.length = kept
    this.#batchCounts.length = kept
  }

  #openChannel(channel: number): void {
    const key = (this.#options.keyPrefix ?? 'gateway:events:') + this.#intake.names.names[channel]!
    this.#keys[channel] = key
    this.#heads[channel] = rpushHead(key)
    this.#attempts[channel] = 0
    this.#retryAtMs[channel] = 0
    this.#lengths[channel] = 0
    const event = this.#intake.names.names[channel]!
    if (!isEventName(event)) return
    const labels = { destination: this.name, event }
    const { counters } = this.#options
    counters.gauge('gateway_push_list_length', () => this.#lengths[channel]!, labels)
  }

  readonly #onAnswers = (answers: unknown): void => {
    this.#isInFlight = false
    if (this.#isClosed) return
    let isUnknown = !Array.isArray(answers)
    let isAnyConfirmed = false
    let isReadOnly = false
    if (Array.isArray(answers)) {
      for (let index = 0; index < this.#batch.length; index++) {
        const answer = (answers as [Error | null, unknown][])[index]
        const error = answer?.[0]
        if (error === null) {
          isAnyConfirmed = true
          this.#keepLength(this.#batch[index]!, answer?.[1])
          this.#onAccepted(this.#batch[index]!, this.#batchCounts[index]!)
        } else if (error instanceof ReplyError) {
          isAnyConfirmed = true
          const { message } = error as Error
          this.#onRefused(this.#batch[index]!, message)
          isReadOnly ||= refusalCode(message) === 'READONLY'
        } else {
          isUnknown = true
        }
      }
    }
    if (isAnyConfirmed) this.#unconfirmed = 0
    if (isUnknown) {
      this.#retries.value++
      if (!isAnyConfirmed) this.#unconfirmed = Math.min(20, this.#unconfirmed + 1)
      this.#connection.reset('no answer in time')
    } else if (isReadOnly) {
      this.#leaveReplica()
    }
    this.#queue.compactIfSparse()
    this.onFreed()
    if (this.#queue.events === 0) this.#onIdle?.()
    else this.#flushSoon()
  }

  #onAccepted(channel: number, count: number): void {
    for (let index = 0; index < count; index++) this.#queue.finish(this.#queue.shift(channel))
    this.#intake.delivered.value += count
    if (this.#attempts[channel] === 0) return
    this.#attempts[channel] = 0
    this.#retryAtMs[channel] = 0
    this.#refusals.accepted(this.#keys[channel]!)
  }

  /** RPUSH answers with the list's new length: what the consumers have not taken yet. */
  #keepLength(channel: number, length: unknown): void {
    if (typeof length === 'number') this.#lengths[channel] = length
  }

  #onRefused(channel: number, message: string): void {
    const { clock, random } = this.#options
    const attempt = this.#attempts[channel]!
    // The server cannot take this payload at all (proto-max-bulk-len): alone in a probe it is known by name.
    if (attempt > 0 && /Protocol error/.test(message)) {
      this.#intake.dropSlot(this.#queue.shift(channel), 'refused')
    }
    this.#refusals.refused(this.#keys[channel]!, message)
    this.#retries.value++
    this.#attempts[channel] = attempt + 1
    const waitMs = backoffMs(attempt, random, KEY_BACKOFF)
    this.#retryAtMs[channel] =
      clock.monotonic() + (this.#isDraining ? Math.min(waitMs, DRAIN_BACKOFF_MS) : waitMs)
  }

  /** The address may by now mean another server: a failover behind one name. */
  #leaveReplica(): void {
    const nowMs = this.#options.clock.monotonic()
    if (nowMs - this.#resetAtMs < READONLY_RESET_INTERVAL_MS) return
    this.#resetAtMs = nowMs
    this.#connection.reset(null)
  }
}
