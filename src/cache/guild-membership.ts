import type { Database } from './database.ts'
import type { Fleet } from './fleet.ts'
import type { ReplayClass } from './replay-classes.ts'

export interface MembershipRow {
  readonly guildId: bigint
  readonly state: 'present' | 'joining' | 'unavailable' | 'backfill'
  readonly sessionId: string
  readonly sequence: number
}

/** It reads the whole table, which may be cold after a start. */
const LOAD_DEADLINE_MS = 35_000

/** Durable membership, which the writer keeps and the guild lifecycle starts from. */
export class GuildMembership {
  readonly #database: Database
  readonly #fleet: Fleet

  constructor(deps: { readonly database: Database; readonly fleet: Fleet }) {
    this.#database = deps.database
    this.#fleet = deps.fleet
  }

  /**
   * The guilds of one shard by Discord's formula; `filled` once the shard's first READY was committed.
   * `replay`: classes of what its session may send again.
   */
  async load(
    shardId: number,
    shardCount: number,
  ): Promise<{
    filled: boolean
    rows: readonly MembershipRow[]
    replay: { readonly sessionId: string; readonly classes: readonly ReplayClass[] }
  }> {
    const [session] = await this.#database.query<{ filled: boolean; session_id: string | null }>(
      `select is_membership_filled as filled, session_id from gateway_sessions where name = $1 and shard = $2`,
      [this.#fleet.name, shardId],
    )
    const classes = await this.#database.query<{
      guild_id: string
      sequence: string
      class: ReplayClass['guildClass']
    }>(
      `select noted.guild_id, noted.sequence, noted.class
       from gateway_replay_classes noted join gateway_sessions stored using (shard, session_id)
       where stored.name = $1 and stored.shard = $2 and noted.sequence > stored.sequence`,
      [this.#fleet.name, shardId],
    )
    const rows = await this.#database.query<{
      id: string
      state: MembershipRow['state']
      session_id: string
      sequence: string
    }>(
      // shard_id = (guild_id >> 22) % shard_count. See [Discord Docs/Gateway#sharding-sharding-formula].
      `select id, state, session_id, sequence from guilds_persistent where (id >> 22) % $2::int8 = $1::int8`,
      [shardId, shardCount],
      undefined,
      LOAD_DEADLINE_MS,
    )
    return {
      filled: session?.filled ?? false,
      rows: rows.map((row) => ({
        guildId: BigInt(row.id),
        state: row.state,
        sessionId: row.session_id,
        sequence: Number(row.sequence),
      })),
      replay: {
        sessionId: session?.session_id ?? '',
        classes: classes.map((row) => ({
          guildId: BigInt(row.guild_id),
          sequence: Number(row.sequence),
          guildClass: row.class,
        })),
      },
    }
  }
}
