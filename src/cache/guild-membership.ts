import type { Database } from './database.ts'
import type { Fleet } from './fleet.ts'

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

  /** The guilds of one shard by Discord's formula; `filled` once the shard's first READY was committed. */
  async load(
    shardId: number,
    shardCount: number,
  ): Promise<{ filled: boolean; rows: readonly MembershipRow[] }> {
    const [session] = await this.#database.query<{ filled: boolean }>(
      `select is_membership_filled as filled from gateway_sessions where name = $1 and shard = $2`,
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
    }
  }
}
