/**
 * What a shard needs of the world, declared by its user: cache implements the stores, cluster the
 * claims and the permits, push the destinations, all by shape; cmd/gateway joins them.
 */

/** Who may write for a shard: compared epoch first, then revision. docs/architecture.md#fencing */
export interface Fence {
  /** Raised in Postgres by compare-and-set; one per fleet. */
  readonly epoch: number
  /** The claim's create revision in etcd; a counter in memory. */
  readonly revision: number
}

/**
 * Class of a GUILD_CREATE or GUILD_DELETE; `requested` for a GUILD_MEMBERS_CHUNK that a backend asked for;
 * '' for every other event. docs/architecture.md#guild-lifecycle
 */
export type GuildClass =
  | 'requested'
  | ''
  | 'joined'
  | 'available'
  | 'backfill'
  | 'joining'
  | 'unavailable'
  | 'left'

/**
 * One dispatch on its way to cache and queues. One object is reused for every event: it and its bytes
 * are valid only during the call, and whoever needs a byte later copies it.
 */
export interface Dispatch {
  shardId: number
  shardCount: number
  sessionId: string
  /** `s` of the payload, as Discord counts it within the session. */
  sequence: number
  /** Counts up over all sessions of the shard in this process: `position = sequence + base of session`. */
  position: number
  /** `t`: interned, so that names compare by reference. */
  eventName: string
  guildClass: GuildClass
  /** Wall time in ms at which the frame was read. */
  receivedAtMs: number
  /** The term `d`, without version byte: bytes[start, end). Always ETF, whatever the upstream spoke. */
  bytes: Uint8Array
  start: number
  end: number
}

/** Where a shard's events go. Called synchronously from the read loop, once per dispatch, in order. */
export interface DispatchSink {
  /**
   * Takes the event, or refuses it because a required queue is full. After a refusal the shard does not
   * count the event as received and parks itself: closes resumably, waits, resumes.
   */
  dispatch(event: Dispatch): boolean
  /** Resolves when half of every full queue is free again. */
  whenRoom(signal: AbortSignal): Promise<void>
  /** From now on what finds no room is dropped as a counted gap, until there is room again. */
  shed(shardId: number): void
}

/** A session as it is stored for a RESUME by whoever owns the shard next. */
export interface StoredSession {
  readonly sessionId: string
  /** From READY, without query. */
  readonly resumeGatewayUrl: string
  /** Acknowledged sequence: everything up to it was accepted by every destination and committed. */
  readonly sequence: number
  readonly shardCount: number
  readonly intents: number
  /** The query of the first connection; RESUME must repeat it. See [Discord Docs/Gateway#resuming]. */
  readonly query: ConnectionQuery
}

export interface ConnectionQuery {
  readonly v: number
  readonly encoding: 'etf' | 'json'
  readonly compress: 'zlib-stream' | 'zstd-stream' | 'none'
}

export interface AcknowledgedSequence {
  readonly shardId: number
  readonly fence: Fence
  readonly sessionId: string
  readonly sequence: number
}

/** What one file on the disk of a worker holds: acknowledged by lying there, and not delivered. */
export interface SpillHolding {
  readonly spillId: string
  readonly destination: string
  /** Spills whose events were moved into this one. */
  readonly takenOver: readonly string[]
  /** Within from and to there are so many events. */
  readonly ranges: readonly {
    readonly shardId: number
    readonly sessionId: string
    readonly from: number
    readonly to: number
    readonly events: number
  }[]
}

/** What the destinations of this worker hold on its disk, for the statement that saves its acknowledgement. */
export interface SpillHoldings {
  /** What changed since it was last saved. */
  unsaved(): readonly SpillHolding[]
  /** @param holdings as unsaved() gave them. */
  saved(holdings: readonly SpillHolding[]): void
}

/** Session rows. Each call verifies the fence in the same transaction. */
export interface SessionStore {
  /**
   * Writes the fence if it is higher than the stored one (the first take-over inserts the row) and reads
   * the row in the same statement.
   *
   * @returns `owned: false` when a higher fence is stored: somebody else took the shard since.
   */
  takeOver(
    shardId: number,
    fence: Fence,
  ): Promise<{ owned: boolean; session: StoredSession | null }>
  /** Stores a new session at once, before the identify permit is released. False: the fence is lost. */
  saveSession(shardId: number, fence: Fence, session: StoredSession): Promise<boolean>
  /** Forgets a session that Discord refused; only if it is still the stored one. */
  dropSession(shardId: number, fence: Fence, sessionId: string): Promise<boolean>
  /**
   * Raises acknowledged sequences, many shards in one statement. A save names its session and only raises.
   * In the same transaction what spills hold replaces what was stored of them.
   *
   * @returns the shards whose fence is lost.
   */
  saveAcknowledged(
    entries: readonly AcknowledgedSequence[],
    spills: readonly SpillHolding[],
  ): Promise<number[]>
  /** Whether the stored fence of the shard is still exactly this one. */
  holds(shardId: number, fence: Fence): Promise<boolean>
}

/** A guild as durable membership knows it. */
export interface MembershipRow {
  readonly guildId: bigint
  readonly state: 'present' | 'joining' | 'unavailable' | 'backfill'
  /** The session and sequence that made it present; a replay of that event keeps its class `joined`. */
  readonly sessionId: string
  readonly sequence: number
}

/** The class that an event had, for its replay. */
export interface ReplayClass {
  readonly guildId: bigint
  readonly sequence: number
  readonly guildClass: 'joined' | 'joining' | 'left'
}

export interface StoredMembership {
  /** False until the first READY of the shard was committed: then its guilds are filled in silently. */
  readonly filled: boolean
  readonly rows: readonly MembershipRow[]
  /** Of the stored session, above its acknowledged sequence: each event of these classes that was committed. */
  readonly replay: { readonly sessionId: string; readonly classes: readonly ReplayClass[] }
}

export interface GuildMembership {
  /** The guilds of one shard. */
  load(shardId: number, shardCount: number): Promise<StoredMembership>
}

/** Why an identify is sent; stored with it. */
export type IdentifyWhy =
  | 'first'
  | 'no_session'
  | 'invalid_session'
  | 'close_code'
  | 'shard_count'
  | 'intents'
  | 'bot'

export interface IdentifyPermit {
  /**
   * Records the identify durably and proves that the permit is still held. The caller sends in the same
   * tick. Rejects when it cannot be recorded: then nothing may be sent.
   */
  commit(why: IdentifyWhy): Promise<void>
  /** Given back on READY, op 9, timeout or close; the gate keeps it at least 5 s after commit. Idempotent. */
  release(outcome: 'ready' | 'invalid_session' | 'timeout' | 'closed' | 'unused'): void
}

/** One coordinator per bot: max_concurrency buckets, in order, within the daily budget. */
export interface IdentifyGate {
  acquire(shardId: number, signal: AbortSignal): Promise<IdentifyPermit>
}

export interface IdentifyRecord {
  readonly shardId: number
  readonly atMs: number
  readonly worker: string
  readonly why: IdentifyWhy
}

/** Identifies as rows: the budget and the breaker are computed from them, so they survive crash loops. */
export interface IdentifyLog {
  record(entry: IdentifyRecord): Promise<void>
  /** Identifies of this bot since a wall time, in all, and of the one shard. */
  countSince(sinceMs: number, shardId: number): Promise<{ all: number; shard: number }>
  /** Identifies of this bot since a wall time, of every process: their rate limit keys may not be free yet. */
  recent(sinceMs: number): Promise<readonly { shardId: number; atMs: number }[]>
  /** Uses up one of the identifies that an operator has let pass; false: there is none. */
  takeAllowance(): Promise<boolean>
}

/** The fleet's row: one bot and one name per database. */
export interface FenceStore {
  /**
   * Returns the epoch, raised by compare-and-set where it must be: without etcd at every call (the last
   * process started wins), when the cluster kind changed, and when etcd lost its history.
   *
   * @param revision etcd's current one: a stored revision of the current epoch above it shows the loss.
   */
  raiseEpoch(clusterKind: 'memory' | 'etcd', revision?: number): Promise<number>
}

/** A shard that this worker owns. */
export interface ShardClaim {
  readonly shardId: number
  readonly fence: Fence
  /** Aborted when the claim is gone. Not because etcd is away: fences decide then. */
  readonly lost: AbortSignal
  /** Aborted when another worker shall have the shard: close it, flush, save, release. */
  readonly handover: AbortSignal
  /** By the own clock, in this tick: nobody else can have the shard yet. Looked at when an IDENTIFY leaves. */
  readonly isInTime: boolean
  /** Proof before RESUME and IDENTIFY. */
  confirm(): Promise<boolean>
  release(): Promise<void>
}

export interface ShardClaims {
  /** Calls back for every shard that becomes this worker's, until the signal is aborted. */
  run(onClaim: (claim: ShardClaim) => void, signal: AbortSignal): Promise<void>
}

/** One pass of an event through one destination or the cache, for the acknowledged sequence. */
export interface AckLane {
  /** The lane has taken the event and will call done() for this position or a later one of the shard. */
  submit(shardId: number, position: number): void
  /** Everything of the shard that this lane took, up to this position, is accepted (or dropped and counted). */
  done(shardId: number, position: number): void
}

/** The cache as the delivery sees it. */
export interface EventCache {
  /** Shards are spread over this many ordered lanes: one database connection each. */
  readonly laneCount: number
  laneOf(shardId: number): number
  /** Whether events of this name may change rows. Fixed for a run. */
  touches(eventName: string): boolean
  /**
   * Copies what it needs into the open batch of the shard's lane.
   *
   * @returns the batch's ticket: counts up per lane, settled in order.
   */
  write(event: Dispatch): number
  /** Set by the delivery; called when a lane's batches up to this ticket are committed, or dropped and counted. */
  onSettled: (lane: number, ticket: number) => void
  /** Set by the delivery; called when Postgres was away for 2 s (true), and when it is back (false). */
  onAway: (lane: number, isAway: boolean) => void
}

/** All destinations together, as the delivery sees them. */
export interface EventPush {
  /** False while a required destination's queue is full. Checked before anything is done with an event. */
  hasRoom(): boolean
  whenRoom(signal: AbortSignal): Promise<void>
  /**
   * Copies the event into the queues of the destinations that want it; where there is no room it is
   * dropped and counted (the delivery asks hasRoom() first, except for a shard that sheds).
   *
   * @param lane   cache lane whose batch must be settled before the event may leave; -1: at once.
   * @param ticket that batch; ignored for lane -1.
   */
  push(event: Dispatch, lane: number, ticket: number): void
  /** Batches of the lane up to this ticket are settled: what waited for them may leave. */
  settle(lane: number, ticket: number): void
}
