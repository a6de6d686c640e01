import { ReplyError } from 'ioredis'
import {
  backoffMs,
  type Counter,
  type Histogram,
  type Random,
  type Timer,
} from '../../base/index.ts'
import type { DestinationOptions } from '../destination-options.ts'
import { EventFilter, type Wanted, warnOfUnknownEvents } from '../event-filter.ts'
import type { EventQueue } from '../event-queue.ts'
import { Intake } from '../intake.ts'
import { type PayloadEncoding, type PayloadForm, payloadWriter } from '../payload.ts'
import type { Destination, DestinationStats, PushEvent, Undelivered, WhenFull } from '../ports.ts'
import { RedisConnection } from './connection.ts'
import { FlushBatch } from './flush-batch.ts'
import { KeyCommand } from './key-command.ts'
import type { KeyForm } from './key-form.ts'
import { KeyTable } from './key-table.ts'
import { ListWatermark, type WatermarkLimits } from './list-watermark.ts'
import { listForm } from './list-form.ts'
import { Refusals, refusalCode } from './refusals.ts'
import { streamForm, type StreamSplit, type StreamTrim } from './stream-form.ts'

/** A flush leaves when this much is ready, or FLUSH_LINGER_MS after the first event. docs/architecture.md */
const FLUSH_EVENTS = 512
const FLUSH_BYTES = 1024 * 1024
/** What it takes along at most, of what became ready while the last one was on its way; or FLUSH_BYTES. */
const FLUSH_EVENTS_MAX = 4096
const FLUSH_LINGER_MS = 5
const FLUSH_SECONDS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5, 15]
const KEY_BACKOFF = { baseMs: 100, maxMs: 5_000 }
/** While draining a refused key is tried again sooner. */
const DRAIN_BACKOFF_MS = 200
/** Pause after a flush without an answer; a new connection ends it. */
const UNKNOWN_PAUSE_MS = 50
/** A replica is left for whatever the address means now, no more often than this. */
const READONLY_RESET_INTERVAL_MS = 5_000
const COMMAND_TIMEOUT_MS = 15_000

export interface RedisOptions extends DestinationOptions {
  /** host:port, redis:// or rediss://. */
  readonly address: string
  readonly connectionName: string
  readonly encoding: PayloadEncoding
  readonly random: Random
  /** Of a list; default: no limit. */
  readonly watermark?: WatermarkLimits | undefined
  readonly commandTimeoutMs?: number | undefined
  readonly connectTimeoutMs?: number | undefined
}

export interface RedisListOptions extends RedisOptions {
  /** Before the event name in the key. Default `gateway:events:`. */
  readonly keyPrefix?: string | undefined
  readonly payload: PayloadForm
}

/** `RPUSH gateway:events:<EVENT> payload…` */
export function redisList(options: RedisListOptions): RedisDestination {
  const { keyPrefix = 'gateway:events:', payload, encoding } = options
  return new RedisDestination(options, listForm(keyPrefix, payloadWriter(payload, encoding)))
}

export interface RedisStreamOptions extends RedisOptions {
  /** Before `all`, the event name, or the partition's number in the key. Default `gateway:stream:`. */
  readonly keyPrefix?: string | undefined
  readonly split: StreamSplit
  readonly trim: StreamTrim
}

/** `XADD gateway:stream:all * t … s … shard … session … class … d …` */
export function redisStream(options: RedisStreamOptions): RedisDestination {
  const { keyPrefix = 'gateway:stream:', clock } = options
  return new RedisDestination(
    options,
    streamForm({ ...options, prefix: keyPrefix, nowMs: () => clock.now() }),
  )
}

/**
 * Keys of a Redis, lists or streams: one command or transaction per key and flush, one flush in flight. An
 * event is accepted when its command was answered. A key that was answered with an error is tried again
 * by itself; after a broken connection everything unconfirmed is sent again, in order.
 */
export class RedisDestination implements Destination {
  readonly name: string
  readonly isRequired: boolean
  readonly whenFull: WhenFull
  onFreed: () => void = () => undefined
  readonly #options: RedisOptions
  readonly #form: KeyForm
  readonly #connection: RedisConnection
  readonly #intake: Intake
  readonly #queue: EventQueue
  readonly #refusals: Refusals
  readonly #watermark: ListWatermark
  readonly #flushes: Counter
  readonly #flushSeconds: Histogram
  readonly #retries: Counter

  readonly #keys: KeyTable
  /** The flush in flight, or the last one. */
  readonly #batch: FlushBatch
  #isInFlight = false
  #flushedAtMs = 0
  /** Flushes in a row of which nothing was confirmed; each halves the next, so that a poor line gets on. */
  #unconfirmed = 0
  #timer: Timer | undefined
  #timerAtMs = 0
  /** The timer is set for the end of a linger, not only for a refused key's next try. */
  #isLingering = false
  #isDraining = false
  #isClosed = false
  #onIdle: (() => void) | undefined
  #resetAtMs = Number.NEGATIVE_INFINITY

  constructor(options: RedisOptions, form: KeyForm) {
    const { name, log, clock, counters } = options
    this.name = name
    this.isRequired = options.isRequired ?? true
    this.whenFull = options.whenFull ?? 'block'
    this.#options = options
    this.#form = form
    this.#connection = new RedisConnection({
      ...options,
      destination: name,
      commandTimeoutMs: options.commandTimeoutMs ?? COMMAND_TIMEOUT_MS,
    })
    this.#connection.onUp = () => this.#flushSoon()
    this.#intake = new Intake({
      ...options,
      destination: name,
      filter: new EventFilter({ ...options, destination: name }),
      payload: form.payload,
      keepsShardOrder: form.keepsShardOrder,
      channelOf: (name, event) => form.channelOf(name, event),
      lateChannelOf: (name, channel) => form.lateChannelOf(name, channel),
    })
    this.#intake.onFreed = () => this.onFreed()
    this.#intake.onReady = () => this.#flushSoon()
    this.#queue = this.#intake.queue
    this.#keys = new KeyTable({
      form,
      names: this.#intake.names.names,
      onOpen: this.#onOpenKey,
    })
    this.#batch = new FlushBatch(this.#queue, this.#keys, form)
    this.#refusals = new Refusals({ log: log.child({ destination: name }), clock })
    this.#watermark = new ListWatermark({
      limits: options.watermark ?? { entriesMax: 0, bytesMax: 0 },
      client: this.#connection.client,
      clock,
      log: log.child({ destination: name }),
      onBelow: () => this.#flushSoon(),
    })
    this.#flushes = counters.counter('gateway_push_flushes_total', { destination: name })
    this.#flushSeconds = counters.histogram('gateway_push_flush_seconds', FLUSH_SECONDS, {
      destination: name,
    })
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
  async start(waits = this.isRequired): Promise<void> {
    if (waits) await this.#connection.connect()
    else this.#connection.open()
  }

  setWanted(wanted: Wanted): void {
    const { log } = this.#options
    this.#intake.filter = this.#intake.filter.with(wanted)
    warnOfUnknownEvents(wanted.events ?? [], log, { destination: this.name })
  }

  push(event: PushEvent, lane: number, ticket: number): void {
    if (this.#intake.take(event, lane, ticket)) this.#flushSoon()
  }

  settle(lane: number, ticket: number): void {
    if (this.#queue.settle(lane, ticket)) this.#flushSoon()
  }

  async drain(deadlineMs: number): Promise<Undelivered> {
    const { clock } = this.#options
    this.#isDraining = true
    if (!this.#intake.isIdle) {
      const { promise, resolve } = Promise.withResolvers<void>()
      this.#onIdle = resolve
      const timer = clock.setTimeout(resolve, deadlineMs)
      this.#keys.retryAllNow()
      this.#wakeAt(clock.monotonic())
      await promise
      clock.clearTimeout(timer)
    }
    this.#isClosed = true
    clock.clearTimeout(this.#timer)
    this.#watermark.close()
    this.#connection.close()
    return this.#intake.close()
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
      spilledEvents: this.#intake.spilledEvents,
      flushes: this.#flushes.value,
      retries: this.#retries.value,
    }
  }

  /** Something is ready: flush now if it is enough, else within the linger. */
  #flushSoon(): void {
    if (this.#isInFlight || !this.#connection.isUp || this.#queue.readyEvents === 0) return
    const isEnough =
      this.#queue.readyEvents - this.#batch.stuckEvents >= FLUSH_EVENTS ||
      this.#queue.readyBytes - this.#batch.stuckBytes >= FLUSH_BYTES
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
    const batch = this.#batch
    this.#dropOver()
    batch.choose(
      this.#options.clock.monotonic(),
      Math.max(1, FLUSH_EVENTS_MAX >> this.#unconfirmed),
      Math.max(1, FLUSH_BYTES >> this.#unconfirmed),
    )
    if (batch.retryAtMs < Number.POSITIVE_INFINITY) this.#wakeAt(batch.retryAtMs)
    if (batch.size === 0) return
    this.#isInFlight = true
    this.#flushes.value++
    this.#flushedAtMs = this.#options.clock.monotonic()
    const { client } = this.#connection
    const answers: Promise<unknown>[] = []
    for (let index = 0; index < batch.size; index++) {
      const key = this.#keys.key(batch.channel(index))
      const replies = this.#form.replies(batch.count(index))
      const command = new KeyCommand(this.#form.command, key, replies)
      command.expect(client, replies)
      answers.push(command.promise)
    }
    // A copy: a socket that is left after a silence may still send what it holds, while the next flush is written.
    client.stream.write(Buffer.from(batch.wire()))
    batch.endWire()
    void Promise.allSettled(answers).then(this.#onAnswers)
  }

  /** Lists that nobody reads get nothing more; what comes for them is dropped. */
  #dropOver(): void {
    for (const channel of this.#queue.activeChannels.slice()) {
      if (!this.#watermark.isOver(channel)) continue
      while (this.#queue.count(channel) > 0) {
        this.#intake.dropSlot(this.#queue.shift(channel), 'list_full')
        this.#watermark.dropped(channel)
      }
      this.#intake.onTaken()
      this.onFreed()
    }
    if (this.#intake.isIdle) this.#onIdle?.()
  }

  readonly #onOpenKey = (channel: number): void => {
    this.#form.showLength(channel, this.#intake.names.names, {
      counters: this.#options.counters,
      destination: this.name,
      read: () => this.#keys.length(channel),
    })
  }

  readonly #onAnswers = (answers: readonly PromiseSettledResult<unknown>[]): void => {
    this.#isInFlight = false
    this.#flushSeconds.observe((this.#options.clock.monotonic() - this.#flushedAtMs) / 1000)
    if (this.#isClosed) return
    let isUnknown = false
    let isAnyConfirmed = false
    let isReadOnly = false
    for (const [index, answer] of answers.entries()) {
      const channel = this.#batch.channel(index)
      if (answer.status === 'fulfilled') {
        isAnyConfirmed = true
        const length = this.#form.lengthIn(answer.value)
        this.#onAccepted(channel, this.#batch.count(index), length)
      } else if (answer.reason instanceof ReplyError) {
        isAnyConfirmed = true
        const { message } = answer.reason as Error
        this.#onRefused(channel, message)
        isReadOnly ||= refusalCode(message) === 'READONLY'
      } else {
        isUnknown = true
      }
    }
    this.#batch.end()
    if (isAnyConfirmed) this.#unconfirmed = 0
    if (isUnknown) {
      this.#retries.value++
      if (!isAnyConfirmed) this.#unconfirmed = Math.min(20, this.#unconfirmed + 1)
      this.#connection.reset('no answer in time')
    } else if (isReadOnly) {
      this.#leaveReplica()
    }
    this.#queue.compactIfSparse()
    this.#intake.onTaken()
    this.onFreed()
    if (this.#intake.isIdle) this.#onIdle?.()
    // Never at once after an unknown outcome: a connection that refuses by itself would be asked for ever.
    else if (isUnknown) this.#wakeAt(this.#options.clock.monotonic() + UNKNOWN_PAUSE_MS)
    else this.#flushSoon()
  }

  /** @param length of the key, which its consumers have not taken yet. */
  #onAccepted(channel: number, count: number, length: unknown): void {
    let bytes = 0
    for (let index = 0; index < count; index++) {
      const slot = this.#queue.shift(channel)
      bytes += this.#queue.lengthOf(slot)
      this.#queue.finish(slot)
    }
    this.#intake.delivered.value += count
    if (this.#form.command === 'rpush') {
      this.#watermark.observe(channel, this.#keys.key(channel), length, count, bytes)
    }
    if (this.#keys.accepted(channel, length)) this.#refusals.accepted(this.#keys.key(channel))
  }

  #onRefused(channel: number, message: string): void {
    const { clock, random } = this.#options
    const attempt = this.#keys.attempts(channel)
    // The server cannot take this payload at all (proto-max-bulk-len): alone in a probe it is known by name.
    if (attempt > 0 && /Protocol error/.test(message)) {
      this.#intake.dropSlot(this.#queue.shift(channel), 'refused')
    }
    this.#refusals.refused(this.#keys.key(channel), message)
    this.#retries.value++
    const waitMs = backoffMs(attempt, random, KEY_BACKOFF)
    this.#keys.refused(
      channel,
      clock.monotonic() + (this.#isDraining ? Math.min(waitMs, DRAIN_BACKOFF_MS) : waitMs),
    )
  }

  /** The address may by now mean another server: a failover behind one name. */
  #leaveReplica(): void {
    const nowMs = this.#options.clock.monotonic()
    if (nowMs - this.#resetAtMs < READONLY_RESET_INTERVAL_MS) return
    this.#resetAtMs = nowMs
    this.#connection.reset(null)
  }
}
