/** What the simulator says it did, as plain data: the parts of its ledger that the checks need. */

/** One dispatch of one session, in the order of `n`. */
export interface LedgerLine {
  readonly n: number
  readonly session: string
  readonly shard: number
  readonly shardCount: number
  readonly s: number
  readonly t: string
  /** SHA-1 of the bytes of `d` as ETF without version byte, in hexadecimal. */
  readonly hash: string
  /** These bytes. */
  readonly d: Uint8Array | null
}

/** The end of a session. */
export interface LedgerEnd {
  readonly shard: number
  readonly session: string
  readonly cause: string
  /** The last sequence that left the simulator. */
  readonly lastSent: number
  /** The last sequence that the session had. */
  readonly last: number
  /** The sequence of the RESUME that was refused, if there was one. */
  readonly resumeSeq: number | null
}

export interface LedgerIdentify {
  readonly n: number
  readonly atMs: number
  readonly shard: number
  /** `ready` when a session came of it. */
  readonly outcome: string
  readonly session: string | null
}

/** A line in which the gateway names events as lost. */
export interface GapLine {
  readonly shard: number
  readonly session: string
  readonly from: number
  /** null: up to whatever the session still had. */
  readonly to: number | null
  readonly cause: string
  /** '' when every destination lost it. */
  readonly destination?: string
}
