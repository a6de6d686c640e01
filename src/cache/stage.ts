/**
 * One step of a batch. Within it the order is fixed, so events may be joined freely; an event that would
 * have to come before something of its guild that is already here goes to the next stage.
 *
 *   before   whole lists: delete what a list that is put here does not hold
 *   rows     one change per key, membership with the classes for a replay; member_count between those of guilds and those of members
 *   after    wide changes: threads of a channel, a role of all members, everything of a guild
 */
import type { StateKind } from '../discord/index.ts'
import type { ArenaPool } from './arena-pool.ts'
import { MemberCounts } from './member-counts.ts'
import { MembershipChanges } from './membership-changes.ts'
import { ReplayClasses } from './replay-classes.ts'
import { RowSet } from './row-set.ts'
import type { Table } from './tables.ts'
import { TABLES } from './tables.ts'

/** Ids of 8 characters with the shard that they came from. */
export type ScopedIds = Map<string, number>

export class Stage {
  /** Guilds whose rows of the table are deleted unless this stage puts them. */
  readonly replaced = new Map<Table, ScopedIds>()
  /** Channels whose threads are deleted unless this stage puts them. */
  readonly replacedThreads: ScopedIds = new Map()
  /** Shards whose guilds are filled in silently: ids of 8 characters. */
  readonly filled = new Map<number, string[]>()
  /** Shards that lost events, with the guilds that are concerned. */
  readonly missed = new Map<number, readonly string[]>()
  /** Shards that lost events in all of their guilds, with the number of shards. */
  readonly missedShards = new Map<number, number>()
  readonly rows = new Map<Table, RowSet>()
  readonly membership = new MembershipChanges()
  readonly replayClasses = new ReplayClasses()
  /** Channels that are gone with their threads. */
  readonly closedChannels: ScopedIds = new Map()
  /** Guild and role, 16 characters. */
  readonly strippedRoles: ScopedIds = new Map()
  readonly unavailableGuilds: ScopedIds = new Map()
  readonly removedGuilds: ScopedIds = new Map()
  /** Guilds whose members are exactly these: 8 characters each. */
  readonly wholeMembers = new Map<
    string,
    { readonly shardId: number; readonly users: readonly string[] }
  >()
  readonly counts = new MemberCounts()
  readonly #kept: ReadonlySet<StateKind>
  readonly #arenas: ArenaPool

  /** @param kept  rows of other kinds are forgotten. */
  constructor(kept: ReadonlySet<StateKind>, arenas: ArenaPool) {
    this.#kept = kept
    this.#arenas = arenas
  }

  rowsOf(table: Table): RowSet {
    let set = this.rows.get(table)
    if (set === undefined) {
      set = new RowSet(table, this.#kept.has(table.kind), this.#arenas)
      this.rows.set(table, set)
    }
    return set
  }

  /** Gives the memory of its rows back; of no use afterwards. */
  release(): void {
    for (const set of this.rows.values()) set.release(this.#arenas)
    this.rows.clear()
  }

  replace(table: Table, guild: string, shardId: number): void {
    if (!this.#kept.has(table.kind)) return
    let guilds = this.replaced.get(table)
    if (guilds === undefined) {
      guilds = new Map()
      this.replaced.set(table, guilds)
    }
    guilds.set(guild, shardId)
  }

  /** Changed rows, for the batch's bound. */
  get rowCount(): number {
    let count = this.membership.count + this.replayClasses.count + this.counts.count
    for (const set of this.rows.values()) count += set.count
    return count
  }

  /** Bytes held, for the batch's bound. */
  get byteCount(): number {
    let bytes = 0
    for (const set of this.rows.values()) bytes += set.byteCount
    return bytes
  }

  /** Row sets in the order in which tables are touched. */
  *tables(): Generator<RowSet> {
    for (const table of TABLES) {
      const set = this.rows.get(table)
      if (set !== undefined && set.count > 0) yield set
    }
  }
}
