import type { EventWindow } from './event-window.ts'
import type { Subscription } from './subscribe-request.ts'

/** A server stream of gateway.Event, as grpc-js hands it to a handler. */
export interface EventStream {
  /** False: wait for 'drain'. The callback comes when the message has left for the connection. */
  write(message: Buffer, onWritten: () => void): boolean
  /** Ends the stream with a status. */
  end(code: number, details: string): void
}

const UNDECIDED = 0
const WANTED = 1
const UNWANTED = 2
/** grpc-js takes 16 messages before it says stop; more than that are never under way. */
const PENDING_MAX = 32

/** One subscriber: its filter, and how far it is in the window. */
export class Subscriber {
  readonly subscription: Subscription
  readonly stream: EventStream
  /** Ordinal of the first event that was not looked at. */
  next: number
  isCongested = false
  isGone = false
  /** When a message of it last left, or when it last had nothing to wait for. */
  progressAtMs: number
  written = 0
  readonly #events: ReadonlySet<string> | undefined
  /** By number of the event's name. */
  readonly #wants: number[] = []
  /** Ordinals of messages given to the stream that have not left, oldest first. */
  readonly #pending = new Float64Array(PENDING_MAX)
  #pendingFirst = 0
  #pendingCount = 0
  readonly #onWritten: () => void

  constructor(options: {
    readonly subscription: Subscription
    readonly stream: EventStream
    readonly next: number
    readonly nowMs: number
    readonly onWritten: (subscriber: Subscriber, ordinal: number) => void
  }) {
    this.subscription = options.subscription
    this.stream = options.stream
    this.next = options.next
    this.progressAtMs = options.nowMs
    const { events } = options.subscription
    this.#events = events === undefined ? undefined : new Set(events)
    this.#onWritten = () => {
      if (this.isGone) return
      const ordinal = this.#pending[this.#pendingFirst]!
      this.#pendingFirst = (this.#pendingFirst + 1) % PENDING_MAX
      this.#pendingCount--
      this.written++
      options.onWritten(this, ordinal)
    }
  }

  /** Everything before this ordinal has left for this subscriber, or is not for it. */
  get floor(): number {
    return this.#pendingCount === 0 ? this.next : this.#pending[this.#pendingFirst]!
  }

  get hasPending(): boolean {
    return this.#pendingCount > 0
  }

  /** Whether an event of this name and shard may be for it; the guild is looked at later. */
  wants(name: number, eventName: string, shardId: number): boolean {
    let decision = this.#wants[name] ?? UNDECIDED
    if (decision === UNDECIDED) {
      // Member chunks are for who lists them: whose request they answer is not known here.
      const isWanted = this.#events?.has(eventName) ?? eventName !== 'GUILD_MEMBERS_CHUNK'
      decision = isWanted ? WANTED : UNWANTED
      this.#wants[name] = decision
    }
    if (decision === UNWANTED) return false
    const { shards } = this.subscription
    return shards === undefined || shards.has(shardId)
  }

  /** Writes what is for it, as long as the stream takes more. */
  pump(window: EventWindow, names: readonly string[]): void {
    const { guildIds, encoding } = this.subscription
    while (this.next < window.end && !this.isCongested && this.#pendingCount < PENDING_MAX) {
      const ordinal = this.next++
      const name = window.nameOf(ordinal)
      if (!this.wants(name, names[name]!, window.shardOf(ordinal))) continue
      if (guildIds !== undefined) {
        const guildId = window.guildOf(ordinal)
        if (guildId === null || !guildIds.has(guildId)) continue
      }
      const message = window.message(ordinal, encoding)
      if (message === null) {
        window.markFailed(ordinal)
        continue
      }
      this.#pending[(this.#pendingFirst + this.#pendingCount++) % PENDING_MAX] = ordinal
      if (!this.stream.write(message, this.#onWritten)) this.isCongested = true
    }
  }
}
