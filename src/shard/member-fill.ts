/**
 * Fetches member lists for the cache, guild by guild, under Discord's limits.
 *
 *   -members all, <=N   every guild of our shards whose list is not complete, the smallest first
 *   -members none       only a guild that comes late: more than 5 minutes after its shard's READY, as the ancestor did
 *
 * What is left to do stands in the database (guilds.members_complete), so a restart or another worker goes on where this one stopped,
 * and a guild that is complete is not asked for again until a gap or a new session takes its mark.
 */
import { type Clock, type Counters, type Log, messageOf, type Timer } from '../base/index.ts'
import { FieldReader, snowflakeAt } from '../etf/index.ts'
import type { MembersProgress, MembersWanted } from './commands/member-requests.ts'
import type { Dispatch } from './ports.ts'

export interface IncompleteGuild {
  readonly guildId: bigint
  readonly memberCount: number
}

/** What the cache knows; it has this shape. */
export interface IncompleteGuilds {
  ofShards(shardIds: readonly number[], membersMax: number): Promise<readonly IncompleteGuild[]>
  among(guildIds: readonly bigint[]): Promise<readonly IncompleteGuild[]>
}

/** The shards of this process; the manager has this shape. */
export interface FillShards {
  readyShards(): number[]
  requestMembers(
    shardId: number,
    wanted: MembersWanted,
    listener: (progress: MembersProgress) => void,
  ): void
}

export interface MemberFillDeps {
  readonly guilds: IncompleteGuilds
  readonly shards: FillShards
  readonly shardOf: (guildId: bigint) => number
  /** Guilds with at most so many members are fetched; -1: only those that come late. */
  readonly membersMax: number
  readonly clock: Clock
  readonly log: Log
  readonly counters: Counters
}

/** Requests of one shard under way: enough to use its share of the rate, few enough to go on soon after a restart. */
const UNDER_WAY_MAX = 4
const TICK_MS = 2000
/** The database is asked again for what is incomplete, when there is nothing left to do. */
const SCAN_MS = 30_000
/** Longer than a last chunk takes to be committed, and Discord's own wait for the same guild. */
const AGAIN_MS = 60_000
/** As the ancestor: a GUILD_CREATE so long after the identify is no part of the start. */
const LATE_MS = 300_000
/** A late guild's row is committed by then. */
const COMMITTED_MS = 2000
const LATE_GUILDS_MAX = 10_000

interface ShardFill {
  readonly todo: bigint[]
  readonly underWay: Set<bigint>
  scannedAt: number
}

export class MemberFill {
  readonly #deps: MemberFillDeps
  readonly #shards = new Map<number, ShardFill>()
  /** Guild → monotonic time from which it may be asked for again. */
  readonly #notBefore = new Map<bigint, number>()
  /** Shard → monotonic time of its READY in this process; a session from before it is older than that. */
  readonly #begunAt = new Map<number, number>()
  /** Guild → monotonic time at which it came late. */
  readonly #late = new Map<bigint, number>()
  readonly #guild = new FieldReader(['id'])
  readonly #fetched
  readonly #received
  readonly #failed
  #timer: Timer | undefined
  #isStopped = false

  constructor(deps: MemberFillDeps) {
    this.#deps = deps
    const { counters } = deps
    this.#fetched = counters.counter('gateway_members_fetched_guilds_total')
    this.#received = counters.counter('gateway_members_received_total')
    this.#failed = counters.counter('gateway_members_failed_guilds_total')
    counters.gauge('gateway_members_waiting_guilds', () => this.#waitingCount())
  }

  start(): void {
    void this.#tick()
  }

  stop(): void {
    this.#isStopped = true
    this.#deps.clock.clearTimeout(this.#timer)
  }

  /** READY and GUILD_CREATE; others are ignored. */
  onEvent(event: Dispatch): void {
    const now = this.#deps.clock.monotonic()
    if (event.eventName === 'READY') this.#begunAt.set(event.shardId, now)
    if (event.eventName !== 'GUILD_CREATE') return
    if (event.guildClass !== 'joined' && event.guildClass !== 'available') return
    const begunAt = this.#begunAt.get(event.shardId)
    if (begunAt !== undefined && now - begunAt < LATE_MS) return
    if (this.#guild.read(event.bytes, event.start, event.end) < 0 || this.#guild.starts[0]! < 0)
      return
    const guildId = snowflakeAt(event.bytes, this.#guild.starts[0]!, this.#guild.ends[0]!)
    if (guildId !== null && this.#late.size < LATE_GUILDS_MAX) this.#late.set(guildId, now)
  }

  async #tick(): Promise<void> {
    const ready = new Set(this.#deps.shards.readyShards())
    try {
      await this.#takeLate()
      await this.#scan(ready)
    } catch (error) {
      this.#deps.log.debug('incomplete guilds could not be read', { error: messageOf(error) })
    }
    for (const [shardId, fill] of this.#shards) {
      if (ready.has(shardId)) this.#pump(shardId, fill)
      else if (fill.underWay.size === 0) this.#shards.delete(shardId)
    }
    if (this.#isStopped) return
    this.#timer = this.#deps.clock.setTimeout(() => void this.#tick(), TICK_MS)
  }

  /** Guilds that came late, when their rows are there: those that GUILD_CREATE has not listed whole. */
  async #takeLate(): Promise<void> {
    const now = this.#deps.clock.monotonic()
    const due = [...this.#late].filter(([, at]) => now - at >= COMMITTED_MS)
    if (due.length === 0) return
    const guildIds = due.map(([guildId]) => guildId)
    const found = await this.#deps.guilds.among(guildIds)
    for (const guildId of guildIds) this.#late.delete(guildId)
    this.#add(found)
  }

  async #scan(ready: ReadonlySet<number>): Promise<void> {
    const { clock, guilds, membersMax } = this.#deps
    if (membersMax < 0) return
    const now = clock.monotonic()
    const due = [...ready].filter((shardId) => {
      const fill = this.#fill(shardId)
      return fill.todo.length === 0 && now - fill.scannedAt >= SCAN_MS
    })
    if (due.length === 0) return
    for (const shardId of due) this.#fill(shardId).scannedAt = now
    const found = await guilds.ofShards(due, membersMax)
    this.#add(found)
    for (const [guildId, at] of this.#notBefore) if (at <= now) this.#notBefore.delete(guildId)
    if (found.length > 0) {
      this.#deps.log.info('member lists are being fetched', { guilds: found.length })
    }
  }

  #add(found: readonly IncompleteGuild[]): void {
    const now = this.#deps.clock.monotonic()
    for (const { guildId } of found) {
      const { todo, underWay } = this.#fill(this.#deps.shardOf(guildId))
      const isWaiting = underWay.has(guildId) || todo.includes(guildId)
      if (!isWaiting && (this.#notBefore.get(guildId) ?? 0) <= now) todo.push(guildId)
    }
  }

  #pump(shardId: number, fill: ShardFill): void {
    while (!this.#isStopped && fill.underWay.size < UNDER_WAY_MAX && fill.todo.length > 0) {
      const guildId = fill.todo.shift()!
      fill.underWay.add(guildId)
      try {
        const wanted = { guildId, presences: false, nonce: '', isFill: true }
        this.#deps.shards.requestMembers(shardId, wanted, (progress) =>
          this.#onProgress(shardId, fill, guildId, progress),
        )
      } catch (error) {
        // The shard is not ready, or no longer ours: a later scan finds the guild again.
        this.#deps.log.debug('members cannot be asked for', { shardId, error: messageOf(error) })
        fill.underWay.delete(guildId)
        fill.todo.length = 0
        return
      }
    }
  }

  #onProgress(
    shardId: number,
    fill: ShardFill,
    guildId: bigint,
    { outcome, members, error }: MembersProgress,
  ): void {
    if (outcome !== 'DONE' && outcome !== 'REFUSED') return
    fill.underWay.delete(guildId)
    this.#notBefore.set(guildId, this.#deps.clock.monotonic() + AGAIN_MS)
    if (outcome === 'DONE') {
      this.#fetched.value++
      this.#received.value += members
    } else {
      this.#failed.value++
      const fields = { shardId, guildId: guildId.toString(), code: error?.code }
      this.#deps.log.debug('a member list could not be fetched, it is tried again', fields)
    }
    // Not from within the request that ends: it may end because the shard does.
    queueMicrotask(() => this.#pump(shardId, fill))
  }

  #fill(shardId: number): ShardFill {
    let fill = this.#shards.get(shardId)
    if (fill === undefined) {
      fill = { todo: [], underWay: new Set(), scannedAt: Number.NEGATIVE_INFINITY }
      this.#shards.set(shardId, fill)
    }
    return fill
  }

  #waitingCount(): number {
    let count = this.#late.size
    for (const { todo, underWay } of this.#shards.values()) count += todo.length + underWay.size
    return count
  }
}
