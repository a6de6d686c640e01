import type { EventWindow } from './event-window.ts'
import { type EventStream, nextWanted, type Reader } from './reader.ts'
import type { Subscription } from './subscribe-request.ts'
import { SubscriptionFilter } from './subscription-filter.ts'

/** grpc-js takes 16 messages before it says stop; more than that are never under way. */
const PENDING_MAX = 32
/** A stream from which nothing leaves for this long is ended. */
export const STALL_MS = 30_000

/** One stream of Subscribe: what was written to it is through. */
export class Subscriber implements Reader {
  readonly subscription: Subscription
  readonly filter: SubscriptionFilter
  isCongested = false
  isGone = false
  written = 0
  readonly #stream: EventStream
  readonly #now: () => number
  /** Ordinal of the first event that was not looked at. */
  #next: number
  /** When a message of it last left, or when it last had nothing to wait for. */
  #progressAtMs: number
  /** Ordinals of messages given to the stream that have not left, oldest first. */
  readonly #pending = new Float64Array(PENDING_MAX)
  #pendingFirst = 0
  #pendingCount = 0
  readonly #onWritten: () => void

  constructor(options: {
    readonly subscription: Subscription
    readonly stream: EventStream
    readonly next: number
    readonly now: () => number
    readonly onTaken: (subscriber: Subscriber, ordinal: number) => void
  }) {
    this.subscription = options.subscription
    this.filter = new SubscriptionFilter(options.subscription.filter)
    this.#stream = options.stream
    this.#next = options.next
    this.#now = options.now
    this.#progressAtMs = options.now()
    this.#onWritten = () => {
      if (this.isGone) return
      const ordinal = this.#pending[this.#pendingFirst]!
      this.#pendingFirst = (this.#pendingFirst + 1) % PENDING_MAX
      this.#pendingCount--
      this.#progressAtMs = this.#now()
      this.written++
      options.onTaken(this, ordinal)
    }
  }

  get floor(): number {
    return this.#pendingCount === 0 ? this.#next : this.#pending[this.#pendingFirst]!
  }

  get hasPending(): boolean {
    return this.#pendingCount > 0
  }

  pump(window: EventWindow): void {
    if (this.#pendingCount === 0) this.#progressAtMs = this.#now()
    while (!this.isCongested && this.#pendingCount < PENDING_MAX) {
      const ordinal = nextWanted(this.filter, window, this.#next)
      this.#next = ordinal
      if (ordinal === window.end) return
      this.#next++
      const message = window.message(ordinal, this.subscription.encoding)
      if (message === null) {
        window.markFailed(ordinal)
        continue
      }
      this.#pending[(this.#pendingFirst + this.#pendingCount++) % PENDING_MAX] = ordinal
      if (!this.#stream.write(message, this.#onWritten)) this.isCongested = true
    }
  }

  endStalled(nowMs: number): boolean {
    if (this.#pendingCount === 0) this.#progressAtMs = nowMs
    return nowMs - this.#progressAtMs >= STALL_MS
  }

  end(code: number, details: string): void {
    this.isGone = true
    this.#stream.end(code, details)
  }
}
