import type { Writable } from 'node:stream'
import type { Counter } from '../../base/index.ts'
import type { DestinationOptions } from '../destination-options.ts'
import { EventFilter, type Wanted, warnOfUnknownEvents } from '../event-filter.ts'
import type { EventQueue } from '../event-queue.ts'
import { Intake } from '../intake.ts'
import { type PayloadForm, payloadWriter } from '../payload.ts'
import type { Destination, DestinationStats, PushEvent, Undelivered, WhenFull } from '../ports.ts'

/** One write takes no more once this is reached. */
const WRITE_BYTES = 1024 * 1024
const LF = 0x0a

export interface StdoutOptions extends DestinationOptions {
  /** `envelope`: a map with t, s, d and more in each line; `d`: the bare payload. */
  readonly payload: PayloadForm
  readonly output: Writable
}

/**
 * Events as lines of JSON (NDJSON) on a stream, which is the standard output of the program: for people and
 * pipes. One write at a time; an event is accepted when the stream has handed its line to the system. A reader
 * that went away never comes back: what the queue holds then stays unacknowledged.
 */
export class StdoutDestination implements Destination {
  readonly name: string
  readonly isRequired: boolean
  readonly whenFull: WhenFull
  onFreed: () => void = () => undefined
  readonly #options: StdoutOptions
  readonly #intake: Intake
  readonly #queue: EventQueue
  readonly #flushes: Counter
  #writtenEvents = 0
  #isInFlight = false
  #isBroken = false
  #isClosed = false
  #onIdle: (() => void) | undefined

  constructor(options: StdoutOptions) {
    const { name, counters, log, output } = options
    this.name = name
    this.isRequired = options.isRequired ?? true
    this.whenFull = options.whenFull ?? 'block'
    this.#options = options
    this.#intake = new Intake({
      ...options,
      destination: name,
      filter: new EventFilter({ ...options, destination: name }),
      payload: payloadWriter(options.payload, 'json'),
      keepsShardOrder: true,
      channelOf: () => 0,
    })
    this.#intake.onFreed = () => this.onFreed()
    this.#intake.onReady = () => this.#write()
    this.#queue = this.#intake.queue
    this.#flushes = counters.counter('gateway_push_flushes_total', { destination: name })
    counters.gauge('gateway_push_up', () => (this.#isUp ? 1 : 0), { destination: name })
    output.on('error', this.#onError)
    warnOfUnknownEvents(options.events ?? [], log, { destination: name })
  }

  get hasRoom(): boolean {
    return this.#queue.hasRoom
  }

  get isHalfFree(): boolean {
    return this.#queue.isHalfFree
  }

  get #isUp(): boolean {
    return !this.#isBroken && !this.#isClosed
  }

  async start(): Promise<void> {
    // It is open already.
  }

  setWanted(wanted: Wanted): void {
    const { log } = this.#options
    this.#intake.filter = this.#intake.filter.with(wanted)
    warnOfUnknownEvents(wanted.events ?? [], log, { destination: this.name })
  }

  push(event: PushEvent, lane: number, ticket: number): void {
    if (this.#intake.take(event, lane, ticket)) this.#write()
  }

  settle(lane: number, ticket: number): void {
    if (this.#queue.settle(lane, ticket)) this.#write()
  }

  async drain(deadlineMs: number): Promise<Undelivered> {
    const { clock } = this.#options
    if (!this.#intake.isIdle && !this.#isBroken) {
      const { promise, resolve } = Promise.withResolvers<void>()
      this.#onIdle = resolve
      const timer = clock.setTimeout(resolve, deadlineMs)
      await promise
      clock.clearTimeout(timer)
    }
    this.#isClosed = true
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
      retries: 0,
    }
  }

  #write(): void {
    if (this.#isInFlight || !this.#isUp || this.#queue.readyEvents === 0) return
    this.#isInFlight = true
    this.#flushes.value++
    this.#options.output.write(this.#lines(), this.#onWritten)
  }

  /** The first ready events, a line each. */
  #lines(): Buffer {
    const queue = this.#queue
    let bytes = 0
    let events = 0
    for (let slot = queue.head(0); slot !== -1 && bytes < WRITE_BYTES; slot = queue.next(slot)) {
      bytes += queue.lengthOf(slot) + 1
      events++
    }
    const lines = Buffer.allocUnsafe(bytes)
    let pos = 0
    let slot = queue.head(0)
    for (let index = 0; index < events; index++) {
      queue.pin(0, slot)
      const start = queue.startOf(slot)
      pos += queue.chunkOf(slot).copy(lines, pos, start, start + queue.lengthOf(slot))
      lines[pos++] = LF
      slot = queue.next(slot)
    }
    this.#writtenEvents = events
    return lines
  }

  readonly #onWritten = (error?: Error | null): void => {
    this.#isInFlight = false
    if (error !== undefined && error !== null) {
      this.#onError(error)
      return
    }
    if (this.#isClosed) return
    for (let index = 0; index < this.#writtenEvents; index++) {
      this.#queue.finish(this.#queue.shift(0))
    }
    this.#intake.delivered.value += this.#writtenEvents
    this.#intake.onTaken()
    this.onFreed()
    if (this.#intake.isIdle) this.#onIdle?.()
    else this.#write()
  }

  readonly #onError = (error: Error): void => {
    if (!this.#isUp) return
    this.#isBroken = true
    this.#options.log.error('stdout: cannot be written any more; start the program with a reader', {
      destination: this.name,
      cause: error.message,
      queuedEvents: this.#queue.events,
    })
    this.#onIdle?.()
  }
}
