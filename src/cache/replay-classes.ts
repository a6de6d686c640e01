/**
 * The classes of guild events for whoever replays them. Membership is ahead of the acknowledged sequence, so a replay
 * finds it as it was behind the event, not before it. Noted are the events that say or make a guild unknown; of any other
 * event in front of one of them membership knew the guild. docs/architecture.md#guild-lifecycle
 */
import { idArray, int4Array, int8Array } from './binary-array.ts'

export interface ReplayClass {
  readonly guildId: bigint
  readonly sequence: number
  readonly guildClass: 'joined' | 'joining' | 'left'
}

/**
 * $1 fleet, then arrays: $2 shards, $3 guilds, $4 sessions, $5 sequences, $6 classes. What the shards no longer need
 * goes at the same time, so the table holds what is unacknowledged and the last few of each shard. A session's
 * first events may come before its row: they stay.
 */
export const REPLAY_CLASSES_SQL = `with pruned as (
  delete from gateway_replay_classes old using gateway_sessions stored
  where old.shard = any($2::int4[]) and stored.name = $1 and stored.shard = old.shard
    and case when old.session_id = stored.session_id then old.sequence <= stored.sequence
      else old.session_id <> all($4::text[]) end
)
insert into gateway_replay_classes (shard, guild_id, session_id, sequence, class)
select * from unnest($2::int4[], $3::int8[], $4::text[], $5::int8[], $6::text[]) on conflict do nothing`

interface Note {
  readonly guild: string
  readonly guildClass: string
  readonly shardId: number
  readonly sessionId: string
  readonly sequence: number
}

/** Of one stage. */
export class ReplayClasses {
  readonly #notes: Note[] = []

  get count(): number {
    return this.#notes.length
  }

  /** @param guild 8 characters */
  note(
    guild: string,
    guildClass: ReplayClass['guildClass'],
    event: { readonly shardId: number; readonly sessionId: string; readonly sequence: number },
  ): void {
    const { shardId, sessionId, sequence } = event
    this.#notes.push({ guild, guildClass, shardId, sessionId, sequence })
  }

  /** Parameters of REPLAY_CLASSES_SQL; null: nothing to do. */
  parameters(fleetName: string, lost: ReadonlySet<number>): unknown[] | null {
    const notes = this.#notes.filter(({ shardId }) => !lost.has(shardId))
    if (notes.length === 0) return null
    return [
      fleetName,
      int4Array(notes.map((note) => note.shardId)),
      idArray(notes.map((note) => note.guild)),
      notes.map((note) => note.sessionId),
      int8Array(notes.map((note) => note.sequence)),
      notes.map((note) => note.guildClass),
    ]
  }
}
