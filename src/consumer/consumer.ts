import {
  backoffMs,
  type Clock,
  type Log,
  messageOf,
  type Random,
  sleep,
  systemClock,
  systemRandom,
  within,
} from '../base/index.ts'
import { consoleLog } from './console-log.ts'
import { ConsumerError } from './errors.ts'
import { type ConsumedEvent, type EventStamp, orderKey } from './event.ts'
import { OrderedRunner } from './ordered-runner.ts'
import { decodePayload, unpack } from './payload.ts'
import type { EventSource, TakenEvent } from './ports.ts'
import { Repeats } from './repeats.ts'

const CONCURRENCY = 64
const IN_FLIGHT_FACTOR = 4
const IN_FLIGHT_BYTES_MAX = 64 * 1024 * 1024
const ATTEMPTS_MAX = 3
const RETRY_BACKOFF = { baseMs: 100, maxMs: 5_000 }
const REPEATS_EVENTS_MAX = 100_000
const STOP_DEADLINE_MS = 10_000

export interface FailedEvent {
  /** undefined when the payload could not be read. */
  readonly event: ConsumedEvent | undefined
  readonly payload: Buffer
}

export interface ConsumerOptions {
  /** redisList(), redisStream() or grpcSubscription(). */
  readonly from: EventSource
  /** An event counts as handled when the promise resolves. */
  readonly onEvent: (event: ConsumedEvent) => void | Promise<void>
  /**
   * An event whose handler failed each time, or whose payload cannot be read. It is confirmed afterwards;
   * when this rejects too, it is not, and comes again after the consumer's end. Default: a line in the log.
   */
  readonly onFailed?: (error: unknown, failed: FailedEvent) => void | Promise<void>
  /** Handlers that run at once; those of a guild never do. Default 64. */
  readonly concurrency?: number
  /** Events that were taken and not confirmed. Default 4 × concurrency. */
  readonly inFlightMax?: number
  /** The same in bytes of payload; a single larger one still passes. Default 64 MiB. */
  readonly inFlightBytesMax?: number
  /** How often a handler is tried. Default 3. */
  readonly attemptsMax?: number
  /** Events that are remembered so that repeats are dropped; 0 = none. Default 100,000. */
  readonly repeatsEventsMax?: number
  readonly log?: Log
  readonly clock?: Clock
  readonly random?: Random
}

export interface ConsumerStats {
  readonly taken: number
  readonly handled: number
  /** Given up after the last attempt, or unreadable. */
  readonly failed: number
  /** Dropped because they had been taken before. */
  readonly repeats: number
  readonly inFlight: number
  readonly inFlightBytes: number
}

/** Takes events from a source and runs a handler for each, in order per guild. Made by consume(). */
export class Consumer {
  /** Resolves when it has stopped; rejects when its source has ended for good. */
  readonly ended: Promise<void>
  readonly #options: ConsumerOptions
  readonly #log: Log
  readonly #clock: Clock
  readonly #random: Random
  readonly #runner: OrderedRunner
  readonly #repeats: Repeats | undefined
  /** Events that are being handled, with their repeats. */
  readonly #open = new Map<string, TakenEvent[]>()
  readonly #inFlightMax: number
  readonly #inFlightBytesMax: number
  readonly #attemptsMax: number
  readonly #end = Promise.withResolvers<void>()
  #stopping: Promise<ConsumerStats> | undefined
  /** After the deadline of stop(): no handler is begun any more. */
  readonly #givenUp = new AbortController()
  #roomWaiters: (() => void)[] = []
  #idleWaiters: (() => void)[] = []
  #taken = 0
  #handled = 0
  #failed = 0
  #repeated = 0
  #inFlight = 0
  #inFlightBytes = 0

  constructor(options: ConsumerOptions) {
    const concurrency = options.concurrency ?? CONCURRENCY
    this.#options = options
    this.#log = options.log ?? consoleLog
    this.#clock = options.clock ?? systemClock
    this.#random = options.random ?? systemRandom
    this.#inFlightMax = options.inFlightMax ?? concurrency * IN_FLIGHT_FACTOR
    this.#inFlightBytesMax = options.inFlightBytesMax ?? IN_FLIGHT_BYTES_MAX
    this.#attemptsMax = options.attemptsMax ?? ATTEMPTS_MAX
    const repeatsEventsMax = options.repeatsEventsMax ?? REPEATS_EVENTS_MAX
    requireWhole('concurrency', concurrency, 1)
    requireWhole('inFlightMax', this.#inFlightMax, 1)
    requireWhole('inFlightBytesMax', this.#inFlightBytesMax, 1)
    requireWhole('attemptsMax', this.#attemptsMax, 1)
    requireWhole('repeatsEventsMax', repeatsEventsMax, 0)
    this.#runner = new OrderedRunner(concurrency)
    this.#repeats = repeatsEventsMax === 0 ? undefined : new Repeats(repeatsEventsMax)
    this.ended = this.#end.promise
    // Whoever does not ask hears it from the log.
    this.ended.catch(() => undefined)
  }

  /** @throws ConsumerError when the source cannot be reached or refuses. */
  async start(): Promise<void> {
    await this.#options.from.start({
      intake: {
        roomMax: this.#inFlightMax,
        room: () => this.#room,
        whenRoom: () => this.#whenRoom(),
        take: (event) => this.#take(event),
        fail: (error) => {
          this.#log.error('consumer: the source has ended', { cause: messageOf(error) })
          this.#end.reject(error)
        },
      },
      clock: this.#clock,
      random: this.#random,
      log: this.#log,
    })
  }

  stats(): ConsumerStats {
    return {
      taken: this.#taken,
      handled: this.#handled,
      failed: this.#failed,
      repeats: this.#repeated,
      inFlight: this.#inFlight,
      inFlightBytes: this.#inFlightBytes,
    }
  }

  /**
   * Takes no more, waits for the handlers, confirms, disconnects. What is not handled at the deadline is
   * given back and comes again, to this bot's next process or to another one.
   */
  stop(deadlineMs: number = STOP_DEADLINE_MS): Promise<ConsumerStats> {
    this.#stopping ??= this.#stop(deadlineMs)
    return this.#stopping
  }

  async #stop(deadlineMs: number): Promise<ConsumerStats> {
    for (const wake of this.#roomWaiters.splice(0)) wake()
    const { from } = this.#options
    await from.pause()
    if (this.#inFlight > 0) {
      const { promise, resolve } = Promise.withResolvers<void>()
      this.#idleWaiters.push(resolve)
      await within(this.#clock, promise, deadlineMs)
    }
    this.#givenUp.abort(new Error('the consumer has stopped'))
    const stats = this.stats()
    await from.close()
    this.#end.resolve()
    return stats
  }

  get #room(): number {
    if (this.#stopping !== undefined || this.#inFlightBytes >= this.#inFlightBytesMax) return 0
    return Math.max(0, this.#inFlightMax - this.#inFlight)
  }

  #whenRoom(): Promise<void> {
    if (this.#stopping !== undefined || this.#room > 0) return Promise.resolve()
    return new Promise((resolve) => this.#roomWaiters.push(resolve))
  }

  #take(taken: TakenEvent): void {
    this.#taken++
    this.#inFlight++
    this.#inFlightBytes += taken.payload.length
    let event: ConsumedEvent
    try {
      event = readEvent(taken)
    } catch (error) {
      this.#runner.add('', () => this.#giveUp(taken, undefined, error))
      return
    }
    const id = idOf(event)
    if (this.#repeats !== undefined && id !== null && this.#repeats.isRepeat(id)) {
      this.#repeated++
      // Its confirmation may take away the only one that still stands at the source.
      const open = this.#open.get(id)
      if (open === undefined) this.#finish(taken, true)
      else open.push(taken)
      return
    }
    if (id !== null) this.#open.set(id, [])
    this.#runner.add(orderKey(event.t, event.d), () => this.#handle(taken, event))
  }

  async #handle(taken: TakenEvent, event: ConsumedEvent): Promise<void> {
    const { signal } = this.#givenUp
    for (let attempt = 0; ; attempt++) {
      if (signal.aborted) return
      try {
        await this.#options.onEvent(event)
        this.#handled++
        this.#finishEvent(taken, event, true)
        return
      } catch (error) {
        if (attempt + 1 >= this.#attemptsMax) return this.#giveUp(taken, event, error)
        const waitMs = backoffMs(attempt, this.#random, RETRY_BACKOFF)
        if (!(await slept(this.#clock, waitMs, signal))) return
      }
    }
  }

  async #giveUp(
    taken: TakenEvent,
    event: ConsumedEvent | undefined,
    error: unknown,
  ): Promise<void> {
    if (this.#givenUp.signal.aborted) return
    this.#failed++
    const { onFailed } = this.#options
    if (onFailed === undefined) {
      this.#log.error('consumer: an event could not be handled', {
        event: event?.t ?? taken.eventName,
        sessionId: event?.sessionId ?? null,
        sequence: event?.sequence ?? null,
        cause: messageOf(error),
      })
      this.#finishEvent(taken, event, true)
      return
    }
    try {
      await onFailed(error, { event, payload: taken.payload })
      this.#finishEvent(taken, event, true)
    } catch (failure) {
      this.#log.error('consumer: onFailed rejected, the event stays unconfirmed', {
        event: event?.t ?? taken.eventName,
        cause: messageOf(failure),
      })
      this.#finishEvent(taken, event, false)
    }
  }

  /** The event is over, and with it its repeats that came meanwhile. */
  #finishEvent(taken: TakenEvent, event: ConsumedEvent | undefined, isConfirmed: boolean): void {
    const id = event === undefined ? null : idOf(event)
    const repeats = id === null ? [] : (this.#open.get(id) ?? [])
    if (id !== null) {
      this.#open.delete(id)
      if (!isConfirmed) this.#repeats?.forget(id)
    }
    for (const one of [taken, ...repeats]) this.#finish(one, isConfirmed)
  }

  #finish(taken: TakenEvent, isConfirmed: boolean): void {
    this.#inFlight--
    this.#inFlightBytes -= taken.payload.length
    // A handler that ended behind the deadline: the event was given back.
    if (isConfirmed && !this.#givenUp.signal.aborted) taken.confirm()
    if (this.#room > 0) for (const wake of this.#roomWaiters.splice(0)) wake()
    if (this.#inFlight === 0) for (const wake of this.#idleWaiters.splice(0)) wake()
  }
}

/** Starts a consumer. @throws ConsumerError when the source cannot be reached or refuses. */
export async function consume(options: ConsumerOptions): Promise<Consumer> {
  const consumer = new Consumer(options)
  await consumer.start()
  return consumer
}

/** null for a bare `d`, which nothing tells from its repeat. */
function idOf({ sessionId, sequence }: EventStamp): string | null {
  return sessionId === null || sequence === null ? null : `${sequence} ${sessionId}`
}

function readEvent(taken: TakenEvent): ConsumedEvent {
  const value = decodePayload(taken.payload)
  if (taken.stamp !== undefined && taken.eventName !== null) {
    return eventOf(taken.eventName, value, taken.stamp)
  }
  const { eventName, d, stamp } = unpack(value)
  const name = eventName ?? taken.eventName
  if (name === null) {
    throw new ConsumerError(
      'CONSUMER_BAD_PAYLOAD',
      'A payload has no name: neither its key nor an envelope says which event it is.',
    )
  }
  return eventOf(name, d, stamp)
}

function eventOf(t: string, d: unknown, stamp: EventStamp): ConsumedEvent {
  // That the name and the payload belong together is Discord's word.
  return { t, d, ...stamp } as ConsumedEvent
}

function slept(clock: Clock, ms: number, signal: AbortSignal): Promise<boolean> {
  return sleep(clock, ms, signal).then(
    () => true,
    () => false,
  )
}

function requireWhole(option: string, value: number, min: number): void {
  if (Number.isSafeInteger(value) && value >= min) return
  throw new ConsumerError(
    'CONSUMER_BAD_OPTION',
    `${option} is ${value}: give a whole number of ${min} or more.`,
    { option },
  )
}
