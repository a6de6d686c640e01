/**
 * Events to rows, under the fences of this process' claims. `write` is synchronous and copies what it needs; lanes commit in the background.
 */
import {
  type Clock,
  type Counter,
  type Counters,
  type Log,
  messageOf,
  type Random,
} from '../base/index.ts'
import { isKindTold, type StateKind } from '../discord/index.ts'
import type { Batch } from './batch.ts'
import type { PoisonRow } from './batch-statements.ts'
import type { CacheEvent, EventHandler } from './cache-event.ts'
import { ChannelEvents } from './channel-events.ts'
import type { Database } from './database.ts'
import { changesKept, EVERY_KIND } from './event-kinds.ts'
import { type Fence, isSameFence } from './fences.ts'
import type { Fleet } from './fleet.ts'
import { GuildEvents } from './guild-events.ts'
import { idText } from './ids.ts'
import { Lane } from './lane.ts'
import { MemberEvents } from './member-events.ts'

/** Connections that write. Postgres takes about 100,000 rows a second and core; fewer lanes make larger batches. */
const LANES = 2
const ROWS_MAX = 400_000
const BYTES_MAX = 256 * 1024 * 1024
/** Longer than the server's statement timeout: whoever has not answered by then is not there. */
const STATEMENT_DEADLINE_MS = 40_000

/**
 * A lane's statements join a batch with a table by its key. A plan made while the table was small and
 * kept for good must not scan it when it has grown, so nothing but index lookups is planned; of single rows, which a bitmap
 * of pages makes dearer.
 */
export const LANE_SETUP = `set plan_cache_mode = force_generic_plan; set enable_seqscan = off;
set enable_hashjoin = off; set enable_mergejoin = off; set enable_bitmapscan = off; set jit = off`

/** Events that the cache lost: a bound was reached, or a row could not be written. */
export interface CacheGap {
  readonly shardId: number
  readonly sessionId: string
  readonly from: number
  readonly to: number
  readonly cause: 'cache_full' | 'cache_poison_row' | 'cache_unreadable_event'
}

export interface CacheWriterDeps {
  readonly database: Database
  readonly fleet: Fleet
  /** What Discord sends: a list that no event keeps up to date is never called complete. */
  readonly intents: number
  /** Tells which guilds a shard has, when it lost events. */
  readonly shardCount: number
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  readonly counters: Counters
  /** The fence of the shard's claim is no longer the stored one: its rows were left out. Once per claim. */
  readonly onFenceLost: (shardId: number) => void
  readonly onGap: (gap: CacheGap) => void
  /** Kinds of state that are kept. None: only which guilds there are, for the guild lifecycle. Default: every kind. */
  readonly kinds?: readonly StateKind[]
  /** Whether GUILD_MEMBERS_CHUNKs with this nonce are all members of their guild. Default: none is. */
  readonly isWholeList?: (nonce: string) => boolean
  /** Default 2; never more than the database has connections for, so 1 for the embedded one. */
  readonly laneCount?: number
  /** Bounds over all lanes of what waits for the database. */
  readonly rowsMax?: number
  readonly bytesMax?: number
}

/** Opens the lanes. After `migrate`. */
export function createCacheWriter(deps: CacheWriterDeps): Promise<CacheWriter> {
  return Promise.resolve(new CacheWriter(deps))
}

export class CacheWriter {
  readonly laneCount: number
  /** Set by the delivery: a lane's batches up to this ticket are committed, or dropped and counted. */
  onSettled: (lane: number, ticket: number) => void = () => undefined
  /** Set by the delivery: the database was away for 2 s (true), and is back (false). */
  onAway: (lane: number, isAway: boolean) => void = () => undefined
  readonly #deps: CacheWriterDeps
  readonly #kept: ReadonlySet<StateKind>
  /** One object per claim: batches tell claims apart by it. */
  readonly #claims = new Map<number, Fence>()
  readonly #lanes: readonly Lane[]
  readonly #guilds: GuildEvents
  readonly #members: MemberEvents
  readonly #handlers: ReadonlyMap<string, EventHandler>
  readonly #events: Counter
  readonly #poisonRows: Counter

  constructor(deps: CacheWriterDeps) {
    this.#deps = deps
    this.#kept = deps.kinds === undefined ? EVERY_KIND : new Set(deps.kinds)
    this.laneCount = deps.database.kind === 'embedded' ? 1 : (deps.laneCount ?? LANES)
    this.#lanes = Array.from({ length: this.laneCount }, (_, index) => this.#makeLane(index))
    const kept = this.#kept
    // Without their intent or their rows members are never known to be complete.
    const canComplete = isKindTold('members', deps.intents) && kept.has('members')
    const isWholeList = deps.isWholeList ?? (() => false)
    const members = new MemberEvents((nonce) => canComplete && isWholeList(nonce))
    this.#members = members
    const channels = new ChannelEvents()
    this.#guilds = new GuildEvents({ channels, members, intents: deps.intents, kept })
    const all = [...this.#guilds.handlers(), ...channels.handlers(), ...members.handlers()]
    this.#handlers = new Map(
      kept.size === 0
        ? this.#guilds.membershipHandlers()
        : all.filter(([eventName]) => changesKept(eventName, kept)),
    )
    const { counters } = deps
    this.#events = counters.counter('gateway_cache_events_total')
    this.#poisonRows = counters.counter('gateway_cache_poison_rows_total')
    counters.gauge('gateway_cache_pending_rows', () => sum(this.#lanes, (lane) => lane.rowCount))
    counters.gauge('gateway_cache_away', () => (this.#lanes.some((lane) => lane.isAway) ? 1 : 0))
    counters.gauge('gateway_cache_pending_bytes', () => sum(this.#lanes, (lane) => lane.byteCount))
  }

  laneOf(shardId: number): number {
    return shardId % this.laneCount
  }

  touches(eventName: string): boolean {
    return this.#handlers.has(eventName)
  }

  /** From now on rows of the shard are written under this fence. After `SessionStore.takeOver`. */
  claim(shardId: number, fence: Fence): void {
    if (isSameFence(this.#claims.get(shardId), fence)) return
    this.#claims.set(shardId, { ...fence })
    this.#members.forgetShard(shardId)
  }

  /**
   * Copies what the event changes into the open batch of the shard's lane.
   *
   * @returns the batch's ticket: counts up per lane, settled in order.
   */
  write(event: CacheEvent): number {
    const lane = this.#lanes[this.laneOf(event.shardId)]!
    const { shardId, sessionId, sequence } = event
    const fence = this.#claims.get(shardId)
    const batch = lane.take(shardId, fence)
    batch.note(shardId, fence, sessionId, sequence)
    const handler = this.#handlers.get(event.eventName)
    if (handler === undefined) return batch.ticket
    this.#events.value++
    if (!lane.admit(event.end - event.start)) {
      this.#gap(shardId, sessionId, sequence, 'cache_full')
      return batch.ticket
    }
    try {
      handler(event, batch)
    } catch (error) {
      this.#deps.log.warn('event cannot be read, its rows are left out', {
        shardId,
        eventName: event.eventName,
        sequence,
        error: messageOf(error),
      })
      this.#gap(shardId, sessionId, sequence, 'cache_unreadable_event')
    }
    lane.added()
    return batch.ticket
  }

  /**
   * Guilds that a READY no longer lists: removed with all that hangs on them, or, when there are too many
   * to be believed, marked unavailable. In the shard's order, before the READY itself.
   */
  writeLeft(shardId: number, guildIds: readonly bigint[], isDoubtful: boolean): void {
    const lane = this.#lanes[this.laneOf(shardId)]!
    const fence = this.#claims.get(shardId)
    const batch = lane.take(shardId, fence)
    batch.own(shardId, fence)
    for (const id of guildIds) {
      if (isDoubtful) this.#guilds.hide(batch, idText(id), shardId)
      else this.#guilds.remove(batch, idText(id), shardId)
    }
    lane.added()
  }

  /** Events of the shard are lost: from here on its lists are not known to be complete. */
  markMissed(shardId: number): void {
    this.#members.forgetShard(shardId)
    const lane = this.#lanes[this.laneOf(shardId)]!
    const fence = this.#claims.get(shardId)
    if (fence === undefined) return
    const batch = lane.take(shardId, fence)
    batch.own(shardId, fence)
    batch.miss(shardId, this.#deps.shardCount)
    lane.added()
  }

  /**
   * Resolves when everything written so far is settled; of one shard only, when it is named. The caller
   * has the deadline: while the database is away this waits.
   */
  async flush(shardId?: number): Promise<void> {
    if (shardId === undefined) await Promise.all(this.#lanes.map((lane) => lane.flush()))
    else await this.#lanes[this.laneOf(shardId)]!.flush()
  }

  /** Gives up what is not settled, and closes the connections. */
  async close(): Promise<void> {
    await Promise.all(this.#lanes.map((lane) => lane.stop()))
  }

  #makeLane(index: number): Lane {
    const { database, fleet, clock, random, log, counters, rowsMax, bytesMax } = this.#deps
    return new Lane({
      clock,
      random,
      counters,
      log: log.child({ lane: index }),
      connect: () =>
        database.connect(`lane ${index}`, { setup: LANE_SETUP, deadlineMs: STATEMENT_DEADLINE_MS }),
      fleetName: fleet.name,
      kept: this.#kept,
      rowsPerStatementMax: database.capabilities.rowsPerStatementMax,
      limits: {
        rowsMax: Math.ceil((rowsMax ?? ROWS_MAX) / this.laneCount),
        bytesMax: Math.ceil((bytesMax ?? BYTES_MAX) / this.laneCount),
      },
      onSettled: (ticket) => this.onSettled(index, ticket),
      onAway: (isAway) => this.onAway(index, isAway),
      onLost: (shardId, fence) => this.#fenceLost(shardId, fence),
      onPoison: (row, batch) => this.#poisoned(row, batch),
    })
  }

  #fenceLost(shardId: number, fence: Fence | undefined): void {
    const { counters, log, onFenceLost } = this.#deps
    counters.counter('gateway_cache_fences_lost_total').value++
    // A claim that was put anew since then is another one.
    if (fence === undefined || this.#claims.get(shardId) !== fence) return
    this.#claims.delete(shardId)
    log.warn('another worker took the shard: its rows are left out', { shardId })
    onFenceLost(shardId)
  }

  #poisoned(row: PoisonRow, batch: Batch): void {
    this.#poisonRows.value++
    const sessionId = batch.shards.get(row.shardId)?.sessionId ?? ''
    this.#deps.log.error('row cannot be written, it is left out', {
      table: row.table,
      shardId: row.shardId,
      sequence: row.sequence,
      error: messageOf(row.cause),
    })
    this.#gap(row.shardId, sessionId, row.sequence, 'cache_poison_row')
  }

  #gap(shardId: number, sessionId: string, sequence: number, cause: CacheGap['cause']): void {
    this.markMissed(shardId)
    this.#deps.onGap({ shardId, sessionId, from: sequence, to: sequence, cause })
  }
}

function sum<T>(items: readonly T[], of: (item: T) => number): number {
  let total = 0
  for (const item of items) total += of(item)
  return total
}
