/** Guilds whose member list is not complete, for who fetches it. */
import type { Database } from './database.ts'

export interface IncompleteGuild {
  readonly guildId: bigint
  /** As Discord said; 0 where it is not known. */
  readonly memberCount: number
}

/** Of one question; what is left is asked for later. */
const GUILDS_MAX = 2000

interface Row {
  readonly id: string
  readonly member_count: number
}

export class IncompleteGuilds {
  readonly #database: Database
  readonly #shardCount: number

  constructor(database: Database, shardCount: number) {
    this.#database = database
    this.#shardCount = shardCount
  }

  /** Those of the shards with at most so many members, the smallest first. */
  ofShards(shardIds: readonly number[], membersMax: number): Promise<IncompleteGuild[]> {
    return this.#read(
      `(id >> 22) % $1::int8 = any($2::int8[]) and coalesce((data->>'member_count')::int8, 0) <= $3::int8`,
      [this.#shardCount, shardIds, membersMax],
      'gateway_incomplete_of_shards',
    )
  }

  /** Of these guilds those that are there and not complete. */
  among(guildIds: readonly bigint[]): Promise<IncompleteGuild[]> {
    return this.#read('id = any($1::int8[])', [guildIds], 'gateway_incomplete_among')
  }

  async #read(which: string, values: unknown[], name: string): Promise<IncompleteGuild[]> {
    const rows = await this.#database.query<Row>(
      `select id, coalesce((data->>'member_count')::int4, 0) as member_count from guilds
where not members_complete and not unavailable and ${which} order by 2, 1 limit ${GUILDS_MAX}`,
      values,
      name,
    )
    return rows.map((row) => ({ guildId: BigInt(row.id), memberCount: row.member_count }))
  }
}
