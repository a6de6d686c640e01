import { ReplyError } from 'ioredis'
import {
  backoffMs,
  type Counter,
  type Histogram,
  messageOf,
  type Random,
  type Timer,
} from '../../base/index.ts'
import type { DestinationOptions } from '../destination-options.ts'
import { EventFilter, type Wanted, warnOfUnknownEvents } from '../event-filter.ts'
import type { EventQueue } from '../event-queue.ts'
import { Intake } from '../intake.ts'
import { PushError } from '../errors.ts'
import type { PayloadEncoding } from '../payload.ts'
import type { Destination, DestinationStats, PushEvent, Undelivered, WhenFull } from '../ports.ts'
import { RedisConnection } from './connection.ts'
import { FlushBatch } from './flush-batch.ts'
import { FlushCommand } from './flush-command.ts'
import { FlushMarks } from './flush-marks.ts'
import { KeyCommand } from './key-command.ts'
import type { KeyForm } from './key-form.ts'
import { KeyTable } from './key-table.ts'
import { ListWatermark, type WatermarkLimits } from './list-watermark.ts'
import { Refusals, refusalCode } from './refusals.ts'

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
/** Before a server that refuses to tell its marks is asked again. */
const MARKS_RETRY_MS = 1000
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
  /** With -redis-marks. */
  readonly #marks: FlushMarks | undefined
  readonly #repeats: Counter | undefined
  #isInFlight = false
  /** With marks: the last flush was not answered, and nothing leaves until it is known what became of it. */
  #isInDoubt = false
  /** With marks: this connection was asked about the last flush. */
  #isFenced = true
  /** Counts the connections, so that an answer of an earlier one is known as such. */
  #fences = 0
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

  /** @param marksOf owner of the marks, undefined: there are none. */
  constructor(options: RedisOptions, form: KeyForm, marksOf?: string) {
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
    this.#connection.onUp = () => this.#onUp()
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
    if (marksOf !== undefined) {
      this.#marks = new FlushMarks(marksOf, this.#queue)
      this.#queue.numbersReady = true
      this.#isFenced = false
      this.#repeats = counters.counter('gateway_push_repeats_skipped_total', { destination: name })
    }
    this.#batch = new FlushBatch(this.#queue, this.#keys, form, this.#marks)
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
    if (!waits) {
      this.#connection.open()
      return
    }
    await this.#connection.connect()
    try {
      await this.#marks?.refuseCluster(this.#connection.client, this.#connection.shown)
    } catch (error) {
      this.#connection.close()
      throw error
    }
  }

  setWanted(wanted: Wanted): void {
    const { log } = this.#options
    this.#intake.filter = this.#intake.filter.with(wanted)
    warnOfUnknownEvents(wanted.events ?? [], log, { destination: this.name })
  }

  push(event: PushEvent, lane: number, ticket: number): void {
    if (!this.#intake.take(event, lane, ticket)) return
    this.#marks?.meet(event)
    this.#flushSoon()
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
    if (this.#isInFlight || !this.#isFenced || !this.#connection.isUp) return
    if (this.#queue.readyEvents === 0) return
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
    if (this.#isInFlight || !this.#isFenced || this.#isClosed || !this.#connection.isUp) return
    const batch = this.#batch
    const marks = this.#marks
    if (marks?.isUnread === true) {
      this.#readMarks(marks)
      return
    }
    this.#dropOver()
    batch.choose(
      this.#options.clock.monotonic(),
      Math.max(1, FLUSH_EVENTS_MAX >> this.#unconfirmed),
      Math.max(1, FLUSH_BYTES >> this.#unconfirmed),
    )
    if (batch.retryAtMs < Number.POSITIVE_INFINITY) this.#wakeAt(batch.retryAtMs)
    if (batch.size === 0 && marks?.isDirty !== true) return
    this.#isInFlight = true
    this.#flushes.value++
    this.#flushedAtMs = this.#options.clock.monotonic()
    if (marks !== undefined) {
      this.#sendMarked(marks)
      return
    }
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
    if (isAnyConfirmed) this.#unconfirmed = 0
    if (isUnknown) {
      this.#retries.value++
      if (!isAnyConfirmed) this.#unconfirmed = Math.min(20, this.#unconfirmed + 1)
      this.#connection.reset('no answer in time')
    } else if (isReadOnly) {
      this.#leaveReplica()
    }
    this.#endFlush(isUnknown)
  }

  #endFlush(isUnknown: boolean): void {
    this.#batch.end()
    this.#queue.compactIfSparse()
    this.#intake.onTaken()
    this.onFreed()
    if (this.#intake.isIdle) this.#onIdle?.()
    // Never at once after an unknown outcome: a connection that refuses by itself would be asked for ever.
    else if (isUnknown) this.#wakeAt(this.#options.clock.monotonic() + UNKNOWN_PAUSE_MS)
    else if (this.#marks?.isDirty === true) this.#flush()
    else this.#flushSoon()
  }

  #onUp(): void {
    if (this.#marks === undefined) this.#flushSoon()
    else void this.#fence(this.#marks)
  }

  /** One transaction of the batch and its marks; FlushMarks. */
  #sendMarked(marks: FlushMarks): void {
    const { client } = this.#connection
    const batch = this.#batch
    const wire = Buffer.from(batch.wire())
    batch.endWire()
    const written: number[] = []
    for (let index = 0; index < batch.size; index++) {
      if (batch.isWritten(index)) written.push(index)
    }
    const command = new FlushCommand(marks.key, written.length + marks.tailReplies + 1)
    command.expect(client, written.length + marks.tailReplies + 1)
    client.stream.write(wire)
    void command.replied.then((replies) => this.#onMarkedReplies(marks, written, replies))
  }

  /** @param written keys of the batch that stood in the transaction, in their order. */
  #onMarkedReplies(
    marks: FlushMarks,
    written: readonly number[],
    replies: readonly unknown[],
  ): void {
    this.#isInFlight = false
    this.#flushSeconds.observe((this.#options.clock.monotonic() - this.#flushedAtMs) / 1000)
    if (this.#isClosed) return
    // MULTI and the commands in it are answered before.
    const execution = replies[written.length + marks.tailReplies - 1]
    const refusal = replies.find((reply): reply is Error => reply instanceof ReplyError)
    if (execution === undefined) {
      this.#isFenced = false
      this.#connection.reset('no answer in time')
    }
    if (Array.isArray(execution)) {
      this.#unconfirmed = 0
      this.#settleMarked(marks, written, (order) => execution[order] as unknown)
    } else if (refusal !== undefined) {
      this.#unconfirmed = 0
      this.#refuseMarked(marks, written, replies, refusal)
    } else {
      this.#retries.value++
      this.#isInDoubt = true
      // Given up, because an earlier connection was carried out meanwhile, or Redis has forgotten the number.
      if (execution === null) void this.#fence(marks)
    }
  }

  /** The transaction was carried out, but for keys that it met as another type. */
  #settleMarked(
    marks: FlushMarks,
    written: readonly number[],
    replyOf: (order: number) => unknown,
  ): void {
    let isRefused = false
    const wasRefused = written.some((index) => this.#keys.attempts(this.#batch.channel(index)) > 0)
    for (let index = 0; index < this.#batch.size; index++) {
      const order = written.indexOf(index)
      const reply = order === -1 ? undefined : replyOf(order)
      const channel = this.#batch.channel(index)
      if (reply instanceof Error) {
        isRefused = true
        this.#onRefused(channel, reply.message)
      } else {
        this.#onAccepted(channel, this.#batch.count(index), reply)
      }
    }
    marks.accepted(isRefused)
    if (wasRefused && !isRefused) marks.onKeyAccepted()
    this.#endFlush(false)
  }

  /** The transaction was given up: nothing of it is in any list. */
  #refuseMarked(
    marks: FlushMarks,
    written: readonly number[],
    replies: readonly unknown[],
    refusal: Error,
  ): void {
    const refused = written.filter((_, order) => replies[order + 1] instanceof ReplyError)
    // Else it was the marks themselves, or the transaction: then no key can get on.
    for (const index of refused.length > 0 ? refused : this.#batch.indices()) {
      const order = written.indexOf(index)
      const own = order === -1 ? refusal : replies[order + 1]
      this.#onRefused(
        this.#batch.channel(index),
        messageOf(own instanceof ReplyError ? own : refusal),
      )
    }
    marks.refused()
    if (refusalCode(refusal.message) === 'READONLY') this.#leaveReplica()
    // Marks alone would be tried again at once.
    this.#endFlush(this.#batch.size === 0)
  }

  /** Asks a new connection what became of the last flush; until then nothing is sent. */
  async #fence(marks: FlushMarks): Promise<void> {
    const fence = ++this.#fences
    const { client, shown } = this.#connection
    const batch = this.#batch
    this.#isFenced = false
    try {
      await marks.refuseCluster(client, shown)
      const isDone = await marks.fence(client)
      const keys = batch.indices().map((index) => this.#keys.key(batch.channel(index)))
      const others =
        this.#isInDoubt && isDone ? await marks.othersAmong(client, keys) : new Set<string>()
      if (fence !== this.#fences || this.#isClosed) return
      this.#isFenced = true
      this.#refusals.accepted(marks.key)
      if (!this.#isInDoubt) {
        this.#flushSoon()
        return
      }
      this.#isInDoubt = false
      if (isDone) {
        this.#unconfirmed = 0
        const other = new Error('WRONGTYPE the key holds another kind of value')
        this.#settleMarked(marks, batch.indices(), (index) =>
          others.has(keys[index]!) ? other : undefined,
        )
      } else {
        this.#unconfirmed = Math.min(20, this.#unconfirmed + 1)
        marks.refused()
        this.#endFlush(true)
      }
    } catch (error) {
      this.#onMarksRefused(marks, error, () => {
        if (fence === this.#fences && this.#connection.isUp) void this.#fence(marks)
      })
    }
  }

  #readMarks(marks: FlushMarks): void {
    this.#isInFlight = true
    marks.read(this.#connection.client).then(
      () => {
        this.#isInFlight = false
        this.#refusals.accepted(marks.key)
        this.#flush()
      },
      (error: unknown) => {
        this.#onMarksRefused(marks, error, () => {
          this.#isInFlight = false
          this.#flush()
        })
      },
    )
  }

  /** Marks could not be read: tried again on the next connection, or in a while. */
  #onMarksRefused(marks: FlushMarks, error: unknown, again: () => void): void {
    if (this.#isClosed) return
    this.#retries.value++
    if (error instanceof PushError) {
      this.#refusals.refused(marks.key, `${error.code} ${error.message}`)
    } else if (error instanceof ReplyError) {
      this.#refusals.refused(marks.key, messageOf(error))
      if (refusalCode(messageOf(error)) === 'READONLY') this.#leaveReplica()
    } else {
      this.#connection.reset('no answer in time')
    }
    this.#options.clock.setTimeout(() => {
      if (!this.#isClosed) again()
    }, MARKS_RETRY_MS)
  }

  /** @param length of the key, which its consumers have not taken yet. */
  #onAccepted(channel: number, count: number, length: unknown): void {
    let bytes = 0
    for (let index = 0; index < count; index++) {
      const slot = this.#queue.shift(channel)
      bytes += this.#queue.lengthOf(slot)
      if (this.#repeats !== undefined && this.#batch.isRepeat(slot)) this.#repeats.value++
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
