/**
 * What the simulator did, kept to be compared with what a client says it got: every event of every session,
 * identifies, resumes, closes, and the gaps that its own rules made unavoidable. Bounded: the oldest go
 * first, counted in `dropped`.
 */

/** One dispatch of one session. */
export interface LedgerEvent {
  /** Position in the ledger, from 1. */
  readonly n: number
  readonly atMs: number
  readonly session: string
  readonly shard: number
  readonly shardCount: number
  readonly s: number
  readonly t: string
  readonly guildId: bigint | null
  /** SHA-1 of the bytes of `d` as ETF without version byte, in the shape in which ETF sessions get it. */
  readonly hash: string
  /** These bytes; null once the bound on bytes was reached, or if it is 0. */
  d: Buffer | null
  /** How often it was handed to a socket, replays included. 0: nobody was connected. */
  writes: number
}

export interface LedgerIdentify {
  readonly n: number
  readonly atMs: number
  readonly shard: number
  readonly shardCount: number
  readonly intents: number
  /** `ready`, `concurrency`, `budget` or the close code's name. */
  readonly outcome: string
  readonly session: string | null
}

export interface LedgerResume {
  readonly n: number
  readonly atMs: number
  readonly shard: number
  readonly session: string
  readonly seq: number
  readonly outcome:
    | 'resumed'
    | 'unknown'
    | 'expired'
    | 'replay_exceeded'
    | 'invalid_seq'
    | 'refused'
  readonly replayed: number
  /** Whether v, encoding and compress were those of the identify. */
  readonly sameQuery: boolean
}

export interface LedgerClose {
  readonly n: number
  readonly atMs: number
  readonly shard: number
  readonly session: string | null
  /** The code of the close frame; 1006: TCP ended without one; 1005: a frame without a code. */
  readonly code: number
  readonly by: 'client' | 'server'
  readonly reason: string
}

/** The end of a session, with the events that no RESUME brings any more. */
export interface LedgerEnd {
  readonly n: number
  readonly atMs: number
  readonly shard: number
  readonly shardCount: number
  readonly session: string
  readonly cause: EndCause
  /** The last sequence that was written to a socket and left this process; may still rise just after the end. */
  lastSent: number
  /** The last sequence of the session: recorded, whether a client was there or not. */
  readonly last: number
  /** `seq` of a RESUME that was refused, also of one that came after the end. */
  resumeSeq: number | null
  /** A session of the same shard that began while nobody read this one: it has the later events as well. */
  readonly successor: string | null
  /** Events of the shard that no session took, from this end to the beginning of the shard's next session. */
  unheard: number
}

export type EndCause =
  /** Closed by the client with 1000 or 1001. */
  | 'closed'
  /** Nobody came back in time. */
  | 'expired'
  /** No heartbeat: closed with 4009. */
  | 'timed_out'
  /** RESUME from before the replay buffer. */
  | 'replay_exceeded'
  /** RESUME with a sequence that was never sent: closed with 4007. */
  | 'invalid_seq'
  /** Op 9 false, a close code that ends the session, or an expiry, asked for as a fault. */
  | 'fault'
  /** The simulator was stopped. */
  | 'stopped'

/**
 * Events that became unreachable: `from` to `to`, both included. `from` follows what the client confirmed in
 * its RESUME, else what was sent to it; what lies up to `lastSent` may have reached the client all the same.
 */
export interface LedgerGap {
  readonly shard: number
  readonly shardCount: number
  readonly session: string
  readonly cause: EndCause
  readonly from: number
  readonly to: number
  readonly lastSent: number
  readonly resumeSeq: number | null
  readonly atMs: number
}

export interface LedgerBounds {
  readonly eventsMax: number
  /** Bytes of `d` kept over all events. */
  readonly bytesMax: number
}

const RECORDS_MAX = 100_000

export class Ledger {
  readonly #bounds: LedgerBounds
  #events: LedgerEvent[] = []
  /** Events before this index are dropped; cut off when they are half of the array. */
  #head = 0
  /** The oldest event that still has its bytes, as an index like #head. */
  #bytesHead = 0
  #bytes = 0
  #next = 1
  readonly identifies: LedgerIdentify[] = []
  readonly resumes: LedgerResume[] = []
  readonly closes: LedgerClose[] = []
  readonly ends: LedgerEnd[] = []
  dropped = 0

  constructor(bounds: LedgerBounds) {
    this.#bounds = bounds
  }

  get size(): number {
    return this.#events.length - this.#head
  }

  record(event: Omit<LedgerEvent, 'n' | 'writes'>): LedgerEvent {
    const entry: LedgerEvent = {
      n: this.#next++,
      atMs: event.atMs,
      session: event.session,
      shard: event.shard,
      shardCount: event.shardCount,
      s: event.s,
      t: event.t,
      guildId: event.guildId,
      hash: event.hash,
      d: event.d,
      writes: 0,
    }
    this.#events.push(entry)
    this.#bytes += entry.d?.length ?? 0
    while (this.#bytes > this.#bounds.bytesMax) this.#forgetBytes()
    if (this.size > this.#bounds.eventsMax) this.#dropOldest()
    return entry
  }

  /** Events after position `after`, oldest first; of one shard if given. */
  *events(
    query: { shard?: number; after?: number; session?: string } = {},
  ): Generator<LedgerEvent> {
    const after = query.after ?? 0
    for (let index = this.#head; index < this.#events.length; index++) {
      const entry = this.#events[index]!
      if (entry.n <= after) continue
      if (query.shard !== undefined && entry.shard !== query.shard) continue
      if (query.session !== undefined && entry.session !== query.session) continue
      yield entry
    }
  }

  identify(entry: Omit<LedgerIdentify, 'n'>): void {
    add(this.identifies, { n: this.#next++, ...entry })
  }

  resume(entry: Omit<LedgerResume, 'n'>): void {
    add(this.resumes, { n: this.#next++, ...entry })
  }

  close(entry: Omit<LedgerClose, 'n'>): void {
    add(this.closes, { n: this.#next++, ...entry })
  }

  end(entry: Omit<LedgerEnd, 'n'>): LedgerEnd {
    const end = { n: this.#next++, ...entry }
    add(this.ends, end)
    return end
  }

  gaps(): LedgerGap[] {
    const gaps: LedgerGap[] = []
    for (const end of this.ends) {
      const from = (end.resumeSeq ?? end.lastSent) + 1
      if (from > end.last) continue
      const { shard, shardCount, session, cause, lastSent, resumeSeq, atMs } = end
      gaps.push({
        shard,
        shardCount,
        session,
        cause,
        from,
        to: end.last,
        lastSent,
        resumeSeq,
        atMs,
      })
    }
    return gaps
  }

  #forgetBytes(): void {
    const entry = this.#events[this.#bytesHead]
    if (entry === undefined) return
    this.#bytesHead++
    this.#bytes -= entry.d?.length ?? 0
    entry.d = null
  }

  #dropOldest(): void {
    if (this.#bytesHead === this.#head) this.#forgetBytes()
    this.#head++
    this.dropped++
    if (this.#head * 2 < this.#events.length) return
    this.#events = this.#events.slice(this.#head)
    this.#bytesHead -= this.#head
    this.#head = 0
  }
}

function add<T>(records: T[], record: T): void {
  records.push(record)
  if (records.length > 2 * RECORDS_MAX) records.splice(0, RECORDS_MAX)
}
