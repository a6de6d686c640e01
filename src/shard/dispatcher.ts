/**
 * The data plane between a connection and the sink: envelope, name, class, sink, received mark.
 * One Envelope and one Dispatch serve all shards of the process; nothing is allocated per event.
 */
import { EVENT_NAMES } from '../discord/index.ts'
import { Envelope, NameTable, scanEnvelope } from '../etf/index.ts'
import type { AckMarks } from './ack-marks.ts'
import type { Clock } from '../base/index.ts'
import type { Dispatch, DispatchSink, GuildClass } from './ports.ts'
import { isPlausibleTerm } from './term-head.ts'

/** Guild classes from durable membership; by shape, see guild-lifecycle.ts. */
export interface Lifecycle {
  /** Reads the shard's membership; after the claim, before the connection. */
  load(shardId: number, shardCount: number): Promise<void>
  /** Compares a READY with membership, before it goes on. */
  ready(event: Dispatch): void
  classify(event: Dispatch): GuildClass
  forget(shardId: number): void
}

/** Told of a few events when the sink has them, before they count as received; see commands/answers.ts and src/cache/voice. */
export interface EventObserver {
  onEvent(event: Dispatch): void
}

const OBSERVED: ReadonlySet<string> = new Set([
  'GUILD_CREATE',
  'GUILD_DELETE',
  'GUILD_MEMBERS_CHUNK',
  'RATE_LIMITED',
  'READY',
  'VOICE_SERVER_UPDATE',
  'VOICE_STATE_UPDATE',
])

/** `d` of a dispatch that has none: the atom nil (SMALL_ATOM_UTF8_EXT, length 3). */
const NIL = Buffer.from([119, 3, 0x6e, 0x69, 0x6c])

export class Dispatcher {
  /** Of the payload that was scanned last. */
  readonly envelope = new Envelope()
  readonly #names = new NameTable(['READY', 'RESUMED', ...EVENT_NAMES])
  readonly #marks: AckMarks
  readonly #lifecycle: Lifecycle
  readonly #sink: DispatchSink
  readonly #clock: Clock
  readonly #observers: readonly EventObserver[]
  readonly #dispatch: Dispatch

  constructor(deps: {
    readonly shardCount: number
    readonly marks: AckMarks
    readonly lifecycle: Lifecycle
    readonly sink: DispatchSink
    readonly observers: readonly EventObserver[]
    readonly clock: Clock
  }) {
    this.#observers = deps.observers
    this.#marks = deps.marks
    this.#lifecycle = deps.lifecycle
    this.#sink = deps.sink
    this.#clock = deps.clock
    this.#dispatch = {
      shardId: 0,
      shardCount: deps.shardCount,
      sessionId: '',
      sequence: 0,
      position: 0,
      eventName: '',
      guildClass: '',
      receivedAtMs: 0,
      bytes: NIL,
      start: 0,
      end: 0,
    }
  }

  /**
   * Fills `envelope` from one whole payload.
   *
   * @returns false when the payload does not end where its bytes do, or `d` cannot be a term.
   * @throws EtfError for what is no ETF.
   */
  scan(bytes: Uint8Array, start: number, end: number): boolean {
    const { envelope } = this
    if (scanEnvelope(bytes, start, end, envelope) !== end) return false
    return envelope.dStart === -1 || isPlausibleTerm(bytes, envelope.dStart, envelope.dEnd)
  }

  /** `t` of the scanned envelope, interned; '' without one. */
  eventName(bytes: Uint8Array): string {
    const { nameStart, nameEnd } = this.envelope
    return nameStart === nameEnd ? '' : this.#names.intern(bytes, nameStart, nameEnd)
  }

  /**
   * Hands the scanned event to the sink and marks it received.
   *
   * @param sequence the event's, or -1: then it counts as part of the last one.
   * @returns false when the sink refused it. Throws what the sink throws for an event it cannot read.
   */
  deliver(
    shardId: number,
    sessionId: string,
    eventName: string,
    sequence: number,
    bytes: Uint8Array,
  ): boolean {
    const { dStart, dEnd } = this.envelope
    if (dStart === -1) {
      return this.#deliver(shardId, sessionId, eventName, sequence, NIL, 0, NIL.length)
    }
    return this.#deliver(shardId, sessionId, eventName, sequence, bytes, dStart, dEnd)
  }

  /** A READY that was refused, once more, from a copy of its `d`. */
  redeliverReady(shardId: number, sessionId: string, sequence: number, d: Uint8Array): boolean {
    return this.#deliver(shardId, sessionId, 'READY', sequence, d, 0, d.length)
  }

  #deliver(
    shardId: number,
    sessionId: string,
    eventName: string,
    sequence: number,
    bytes: Uint8Array,
    start: number,
    end: number,
  ): boolean {
    const event = this.#dispatch
    const counted = sequence === -1 ? this.#marks.received(shardId) : sequence
    event.shardId = shardId
    event.sessionId = sessionId
    event.sequence = counted
    event.position = this.#marks.position(shardId, counted)
    event.eventName = eventName
    event.receivedAtMs = this.#clock.now()
    event.bytes = bytes
    event.start = start
    event.end = end
    event.guildClass = ''
    if (eventName === 'READY') {
      this.#lifecycle.ready(event)
    } else if (
      eventName === 'GUILD_CREATE' ||
      eventName === 'GUILD_DELETE' ||
      eventName === 'GUILD_MEMBERS_CHUNK'
    ) {
      event.guildClass = this.#lifecycle.classify(event)
    }
    if (!this.#sink.dispatch(event)) return false
    if (OBSERVED.has(eventName)) {
      for (const observer of this.#observers) observer.onEvent(event)
    }
    this.#marks.receive(shardId, counted)
    return true
  }
}
