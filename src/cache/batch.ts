/**
 * What one transaction of a lane will write: the events of a few milliseconds, or of an outage, joined.
 * Guilds are independent of each other, so each guild's changes go to the earliest stage that keeps their order.
 */
import type { StateKind } from '../discord/index.ts'
import type { ArenaPool } from './arena-pool.ts'
import type { Fence } from './fences.ts'
import type { MemberCounts } from './member-counts.ts'
import type { RowSet } from './row-set.ts'
import { Stage } from './stage.ts'
import type { Table } from './tables.ts'

/** The phase of a stage, in order. */
const BEFORE = 0
const ROWS = 1
const AFTER = 2
type Phase = typeof BEFORE | typeof ROWS | typeof AFTER
const PHASES = 3

/** The events of one shard in a batch. */
export interface ShardSpan {
  /** The claim under which they were read; undefined: the shard was not ours. */
  readonly fence: Fence | undefined
  sessionId: string
  fromSequence: number
  toSequence: number
}

export class Batch {
  /** Counts up per lane. */
  readonly ticket: number
  /** Kinds of state whose rows are written. */
  readonly kept: ReadonlySet<StateKind>
  readonly stages: Stage[] = []
  readonly shards = new Map<number, ShardSpan>()
  readonly #arenas: ArenaPool
  /** Guild → stage * PHASES + phase of its last change. */
  readonly #places = new Map<string, number>()
  /** Nothing may be placed before this stage any more. */
  #firstStage = 0

  constructor(ticket: number, kept: ReadonlySet<StateKind>, arenas: ArenaPool) {
    this.ticket = ticket
    this.#arenas = arenas
    this.kept = kept
  }

  get rowCount(): number {
    let count = 0
    for (const stage of this.stages) count += stage.rowCount
    return count
  }

  get byteCount(): number {
    let bytes = 0
    for (const stage of this.stages) bytes += stage.byteCount
    return bytes
  }

  /** Gives the memory of its rows back; of no use afterwards. */
  release(): void {
    for (const stage of this.stages) stage.release()
  }

  /** Notes an event, also one that changes nothing: it is settled with the batch. */
  note(shardId: number, fence: Fence | undefined, sessionId: string, sequence: number): void {
    const span = this.shards.get(shardId)
    if (span === undefined) {
      this.shards.set(shardId, {
        fence,
        sessionId,
        fromSequence: sequence,
        toSequence: sequence,
      })
      return
    }
    if (span.sessionId !== sessionId) {
      span.sessionId = sessionId
      span.fromSequence = sequence
    }
    span.toSequence = sequence
  }

  /** Notes a shard whose rows change without an event. */
  own(shardId: number, fence: Fence | undefined): void {
    if (!this.shards.has(shardId)) this.note(shardId, fence, '', 0)
  }

  /** The rows of a table where the guild's next change of a row belongs. @param guild 8 characters */
  rows(guild: string, table: Table): RowSet {
    return this.#place(guild, ROWS).rowsOf(table)
  }

  /** Where a list of the guild replaces the stored one: the caller names the table and puts the rows. */
  replacing(guild: string): Stage {
    return this.#place(guild, BEFORE)
  }

  /** Where a change of membership belongs. */
  membership(guild: string): Stage {
    return this.#place(guild, ROWS)
  }

  /** Where a wide change of the guild belongs: behind all of its rows so far. */
  after(guild: string): Stage {
    return this.#place(guild, AFTER)
  }

  /** Where a move of the guild's member_count belongs: with the rows that tell of it. */
  counting(guild: string): MemberCounts {
    return this.#place(guild, ROWS).counts
  }

  /** A stage that comes after everything so far and before everything later. */
  barrier(): Stage {
    this.#firstStage = this.stages.length
    return this.#stage(this.#firstStage)
  }

  /** Events of the shard are lost here: its guilds are marked, what comes later may end it. */
  miss(shardId: number, shardCount: number): void {
    const last = this.stages.at(-1)
    const isMarked = last?.rowCount === 0 && last.missedShards.has(shardId)
    if (!isMarked) this.barrier().missedShards.set(shardId, shardCount)
  }

  #place(guild: string, phase: Phase): Stage {
    const last = this.#places.get(guild)
    let index = this.#firstStage
    if (last !== undefined) {
      const lastIndex = Math.floor(last / PHASES)
      const lastPhase = last % PHASES
      // A list starts anew. Rows follow lists and rows. Wide changes follow anything, and with no row
      // between them they commute: what one removes the other need not touch.
      const fits = phase === AFTER || (phase === ROWS && lastPhase !== AFTER)
      index = Math.max(index, fits ? lastIndex : lastIndex + 1)
    }
    this.#places.set(guild, index * PHASES + phase)
    return this.#stage(index)
  }

  #stage(index: number): Stage {
    while (this.stages.length <= index) this.stages.push(new Stage(this.kept, this.#arenas))
    return this.stages[index]!
  }
}
