import {
  type ClientDuplexStream,
  type ServiceError,
  type StatusObject,
  status,
} from '@grpc/grpc-js'
import { backoffMs, type Clock, type Log, type Random, type Timer } from '../../base/index.ts'
import type { EventQueue } from '../event-queue.ts'
import { asIs, causeOf, type ConsumerClient } from './consumer-client.ts'
import { ackNumber, eventRequest, pushBatch } from './messages.ts'

const PUSH = '/gateway.Queue/Push'
const PUSH_STREAM = '/gateway.Queue/PushStream'
const BACKOFF = { baseMs: 100, maxMs: 5_000 }
/** One batch takes no more once this is reached. */
const BATCH_EVENTS = 256
const BATCH_BYTES = 256 * 1024
/** An event that is alone and too large for the consumer is tried this often. */
const TOO_LARGE_ATTEMPTS = 3
/** A consumer that does not end a stream that we have ended is left after this. */
const CLOSE_MS = 500

export interface Window {
  /** Unanswered at a time. */
  readonly eventsMax: number
  readonly bytesMax: number
}

export interface LinkOptions {
  readonly client: ConsumerClient
  readonly queue: EventQueue
  readonly window: Window
  /** An answer that takes longer counts as none. */
  readonly deadlineMs: number
  /** Of an EventRequest, by slot. */
  readonly keyOf: (slot: number) => Buffer
  readonly onAccepted: (slots: readonly number[]) => void
  /** Refused for good. */
  readonly onRefused: (slots: readonly number[], cause: string) => void
  /** Not answered: to be sent again before anything else, in this order. */
  readonly onReturned: (slots: readonly number[]) => void
  /** There may be room again. */
  readonly onRoom: () => void
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
}

interface Sent {
  readonly slots: readonly number[]
  readonly bytes: number
}

/** What is under way to one consumer: whole until it is answered, within a window, with a pause after a failure. */
export abstract class ConsumerLink {
  protected readonly options: LinkOptions
  /** Oldest first. */
  protected sent: Sent[] = []
  #inFlightEvents = 0
  #inFlightBytes = 0
  /** Failures in a row of which nothing was accepted; each halves the next batch. */
  #failures = 0
  #saidCause = ''
  #downSinceMs = 0
  #pause: Timer | undefined
  protected isClosed = false

  constructor(options: LinkOptions) {
    this.options = options
  }

  get isUp(): boolean {
    return this.#saidCause === '' && this.options.client.isConnected
  }

  get hasRoom(): boolean {
    const { eventsMax, bytesMax } = this.options.window
    return (
      !this.isClosed &&
      this.#pause === undefined &&
      // After a failure one batch at a time, so that it is known which one is refused.
      (this.#failures === 0 || this.#inFlightEvents === 0) &&
      this.#inFlightEvents < eventsMax &&
      this.#inFlightBytes < bytesMax
    )
  }

  /** How much the next send may take. */
  get batchEventsMax(): number {
    const room = this.options.window.eventsMax - this.#inFlightEvents
    return Math.max(1, Math.min(this.batchMax >> Math.min(this.#failures, 10), room))
  }

  get batchBytesMax(): number {
    return BATCH_BYTES >> Math.min(this.#failures, 10)
  }

  protected abstract readonly batchMax: number

  /** The slots are the link's until it gives them back. */
  send(slots: readonly number[]): void {
    let bytes = 0
    for (const slot of slots) bytes += this.options.queue.lengthOf(slot)
    this.#inFlightEvents += slots.length
    this.#inFlightBytes += bytes
    const sent = { slots, bytes }
    this.sent.push(sent)
    this.write(sent)
  }

  async close(): Promise<void> {
    this.isClosed = true
    this.options.clock.clearTimeout(this.#pause)
    this.#pause = undefined
  }

  protected abstract write(sent: Sent): void

  protected accept(sent: Sent): void {
    this.#forget(sent)
    this.#failures = 0
    if (this.#saidCause !== '') {
      this.#saidCause = ''
      const { clock, log, client } = this.options
      log.info('consumer: takes events again', {
        address: client.address,
        downMs: Math.round(clock.monotonic() - this.#downSinceMs),
      })
    }
    this.options.onAccepted(sent.slots)
  }

  /** Nothing of `unanswered` was accepted. */
  protected fail(unanswered: readonly Sent[], error: { code: number; details: string }): void {
    if (this.isClosed) return
    const slots = unanswered.flatMap((sent) => sent.slots)
    for (const sent of unanswered) this.#forget(sent)
    const isTooLarge = error.code === status.RESOURCE_EXHAUSTED && /larger than/.test(error.details)
    const isRefused = error.code === status.INVALID_ARGUMENT || error.code === status.OUT_OF_RANGE
    // Only an event that is alone can be told from its neighbours.
    if (
      slots.length === 1 &&
      (isRefused || (isTooLarge && this.#failures >= TOO_LARGE_ATTEMPTS - 1))
    ) {
      this.#failures = 0
      this.options.onRefused(slots, causeOf(error))
      this.options.onRoom()
      return
    }
    this.#say(causeOf(error))
    const waitMs =
      isRefused || isTooLarge
        ? 0
        : backoffMs(Math.min(this.#failures, 20), this.options.random, BACKOFF)
    this.#failures++
    this.#pause = this.options.clock.setTimeout(() => {
      this.#pause = undefined
      this.options.onRoom()
    }, waitMs)
    if (slots.length > 0) this.options.onReturned(slots)
  }

  #forget(sent: Sent): void {
    this.sent.splice(this.sent.indexOf(sent), 1)
    this.#inFlightEvents -= sent.slots.length
    this.#inFlightBytes -= sent.bytes
  }

  #say(cause: string): void {
    const { clock, log, client } = this.options
    if (this.#saidCause === '') this.#downSinceMs = clock.monotonic()
    if (cause === this.#saidCause) return
    // The port of a connection in its cause changes each time: said once until it is over.
    if (this.#saidCause === '') {
      log.warn('consumer: takes no events, trying again', { address: client.address, cause })
    }
    this.#saidCause = cause
  }
}

/** `Push`: a call for each event. */
export class UnaryLink extends ConsumerLink {
  protected readonly batchMax = 1

  protected write(sent: Sent): void {
    const { client, queue, deadlineMs, keyOf, clock } = this.options
    const slot = sent.slots[0]!
    const request = eventRequest(keyOf(slot), queue, slot)
    const options = { deadline: clock.now() + deadlineMs }
    client.client.makeUnaryRequest(PUSH, asIs, asIs, request, options, (error) => {
      if (this.isClosed) return
      if (error === null) this.accept(sent)
      else this.fail([sent], error)
    })
  }
}

/** `PushStream`: batches on one stream, answered in their order. */
export class StreamLink extends ConsumerLink {
  protected readonly batchMax = BATCH_EVENTS
  #call: ClientDuplexStream<Buffer, Buffer> | undefined
  /** Number of the oldest batch that is not answered. */
  #oldest = 1
  #deadline: Timer | undefined

  /** Resolves when the consumer has ended the stream as well, or too late. */
  override async close(): Promise<void> {
    await super.close()
    const { clock } = this.options
    clock.clearTimeout(this.#deadline)
    const call = this.#call
    this.#call = undefined
    if (call === undefined) return
    const { promise, resolve } = Promise.withResolvers<void>()
    call.once('status', () => resolve())
    call.end()
    const timer = clock.setTimeout(() => call.cancel(), CLOSE_MS)
    await promise
    clock.clearTimeout(timer)
  }

  protected write(sent: Sent): void {
    this.#call ??= this.#open()
    this.#watch()
    this.#call.write(pushBatch(this.#oldest + this.sent.length - 1, this.options.queue, sent.slots))
  }

  #open(): ClientDuplexStream<Buffer, Buffer> {
    const call = this.options.client.client.makeBidiStreamRequest<Buffer, Buffer>(
      PUSH_STREAM,
      asIs,
      asIs,
    )
    this.#oldest = 1
    call.on('data', (message: Buffer) => {
      if (call === this.#call) this.#onAck(ackNumber(message))
    })
    call.on('error', (error: ServiceError) => this.#onEnd(call, error))
    call.on('status', ({ code, details }: StatusObject) => this.#onEnd(call, { code, details }))
    return call
  }

  #onAck(number: number): void {
    while (this.sent.length > 0 && this.#oldest <= number) {
      this.#oldest++
      this.accept(this.sent[0]!)
    }
    this.options.clock.clearTimeout(this.#deadline)
    this.#deadline = undefined
    if (this.sent.length > 0) this.#watch()
  }

  #onEnd(call: ClientDuplexStream<Buffer, Buffer>, error: { code: number; details: string }): void {
    if (call !== this.#call) return
    this.#call = undefined
    this.options.clock.clearTimeout(this.#deadline)
    this.#deadline = undefined
    const isQuietEnd = error.code === status.OK && this.sent.length === 0
    if (!isQuietEnd) this.fail([...this.sent], error)
  }

  #watch(): void {
    const { clock, deadlineMs } = this.options
    this.#deadline ??= clock.setTimeout(() => {
      this.#deadline = undefined
      const call = this.#call
      if (call === undefined) return
      this.#onEnd(call, { code: status.DEADLINE_EXCEEDED, details: 'no answer in time' })
      call.cancel()
    }, deadlineMs)
  }
}
