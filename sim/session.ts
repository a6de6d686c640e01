/**
 * A session: its numbering, its replay buffer, and the connection that reads it, if one does. Events are
 * numbered and kept whether somebody is connected or not.
 *
 *   slots (by s mod capacity)   | 101 | 102 | 98 | 99 | 100 |     sequence = 102, oldest kept = 98
 *
 * See [Discord Docs/Gateway#resuming]; the buffer's bound is Discord's only figure (discord-api-docs#24).
 */
import type { EncodedEvent } from './encoded-event.ts'
import type { LedgerEnd, LedgerEvent } from './ledger.ts'
import type { ClientView } from './sim-world.ts'

/** What a session needs of a connection. */
export interface SessionReader {
  /** Sends now, in order; may ignore it when the connection is not in a state to send. */
  dispatch(entry: ReplayEntry): void
  /** Another connection has taken the session. */
  detached(): void
}

export interface ReplayEntry {
  readonly s: number
  readonly event: EncodedEvent
  readonly ledger: LedgerEvent
}

const REPLAY_EVENTS_MIN = 100
const REPLAY_EVENTS_MAX = 3500
const REPLAY_EVENTS_PER_GUILD = 75

/** discord-api-docs#24: max(100, min(3500, guilds × 75)). */
export function replayCapacity(guilds: number): number {
  return Math.max(REPLAY_EVENTS_MIN, Math.min(REPLAY_EVENTS_MAX, guilds * REPLAY_EVENTS_PER_GUILD))
}

export interface SessionFacts {
  readonly id: string
  readonly shardId: number
  readonly shardCount: number
  readonly view: ClientView
  readonly replayCapacity: number
  /** v, encoding and compress of the identify. */
  readonly query: string
  /** 0, or -1 for a READY with `s` = 0. */
  readonly firstSequence: number
}

export class Session {
  readonly id: string
  readonly shardId: number
  readonly shardCount: number
  readonly view: ClientView
  readonly query: string
  sequence: number
  /** Highest sequence that a heartbeat confirmed. */
  confirmed = 0
  reader: SessionReader | null = null
  /** Monotonic ms since which nobody is connected. */
  detachedAtMs = 0
  /** Guilds of which only a stub was sent so far: nothing of them is told. */
  readonly stubs = new Set<bigint>()
  /** How it ended; null while it lives. */
  end: LedgerEnd | null = null
  /** The session that took the shard while nobody read this one. */
  successor: string | null = null
  #lastSent: number
  readonly #slots: (ReplayEntry | undefined)[]
  /** Everything up to here is gone from the buffer. */
  #floor: number

  constructor(facts: SessionFacts) {
    this.id = facts.id
    this.shardId = facts.shardId
    this.shardCount = facts.shardCount
    this.view = facts.view
    this.query = facts.query
    this.sequence = facts.firstSequence
    this.#lastSent = facts.firstSequence
    this.#floor = facts.firstSequence
    this.#slots = new Array<ReplayEntry | undefined>(facts.replayCapacity).fill(undefined)
  }

  /** Highest sequence that left the process on a socket. */
  get lastSent(): number {
    return this.#lastSent
  }

  sent(sequence: number): void {
    if (sequence <= this.#lastSent) return
    this.#lastSent = sequence
    if (this.end !== null) this.end.lastSent = sequence
  }

  /** Numbers the event, keeps it, and sends it to the reader. */
  append(event: EncodedEvent, record: (s: number) => LedgerEvent): ReplayEntry {
    const s = ++this.sequence
    const entry = { s, event, ledger: record(s) }
    this.#keep(s, entry)
    this.reader?.dispatch(entry)
    return entry
  }

  /** Uses up a number for something that is not an event and cannot be replayed: a fault's garbage. */
  skipSequence(): number {
    const s = ++this.sequence
    this.#keep(s, undefined)
    return s
  }

  /** Whether everything after `seq` is still there. */
  canReplayAfter(seq: number): boolean {
    return seq >= this.#floor && seq <= this.sequence
  }

  entry(s: number): ReplayEntry | undefined {
    const entry = this.#slots[slotOf(s, this.#slots.length)]
    return entry?.s === s ? entry : undefined
  }

  /** Forgets what a heartbeat confirmed; Discord may do so. */
  trim(seq: number): void {
    for (let s = this.#floor + 1; s <= Math.min(seq, this.sequence); s++) {
      this.#slots[slotOf(s, this.#slots.length)] = undefined
      this.#floor = s
    }
  }

  #keep(s: number, entry: ReplayEntry | undefined): void {
    const capacity = this.#slots.length
    this.#slots[slotOf(s, capacity)] = entry
    this.#floor = Math.max(this.#floor, s - capacity)
  }
}

function slotOf(s: number, capacity: number): number {
  return (s + capacity) % capacity
}
