import type { Database } from './database.ts'
import type { Fleet } from './fleet.ts'

/** Identifies older than this concern no budget and no breaker; they go when a new one is recorded. */
const KEPT_MS = 30 * 24 * 3600 * 1000

export interface IdentifyRecord {
  readonly shardId: number
  readonly atMs: number
  readonly worker: string
  readonly why: string
}

/** Identifies as rows, so that budget and breaker hold across crash loops. */
export class IdentifyLog {
  readonly #database: Database
  readonly #fleet: Fleet

  constructor(deps: { readonly database: Database; readonly fleet: Fleet }) {
    this.#database = deps.database
    this.#fleet = deps.fleet
  }

  /** Resolves when the row is committed; rejects when it is not known to be. */
  async record(entry: IdentifyRecord): Promise<void> {
    await this.#database.query(
      `with old as (
         delete from gateway_identifies where bot_user_id = $1 and sent_at < to_timestamp($6::float8 / 1000)
       )
       insert into gateway_identifies (bot_user_id, shard, sent_at, worker, why)
       values ($1, $2, to_timestamp($3::float8 / 1000), $4, $5)`,
      [
        this.#fleet.botUserId,
        entry.shardId,
        entry.atMs,
        entry.worker,
        entry.why,
        entry.atMs - KEPT_MS,
      ],
    )
  }

  /** Identifies of this bot since a wall time in ms (inclusive): of all shards, and of the one. */
  async countSince(sinceMs: number, shardId: number): Promise<{ all: number; shard: number }> {
    const [row] = await this.#database.query<{ total: string; shard: string }>(
      `select count(*) as total, count(*) filter (where shard = $3) as shard
       from gateway_identifies where bot_user_id = $1 and sent_at >= to_timestamp($2::float8 / 1000)`,
      [this.#fleet.botUserId, sinceMs, shardId],
    )
    return { all: Number(row?.total ?? 0), shard: Number(row?.shard ?? 0) }
  }

  /** Identifies of this bot since a wall time in ms (inclusive), oldest first. */
  async recent(sinceMs: number): Promise<{ shardId: number; atMs: number }[]> {
    const rows = await this.#database.query<{ shard: number; at_ms: number }>(
      `select shard, (extract(epoch from sent_at) * 1000)::float8 as at_ms
       from gateway_identifies where bot_user_id = $1 and sent_at >= to_timestamp($2::float8 / 1000)
       order by sent_at`,
      [this.#fleet.botUserId, sinceMs],
    )
    return rows.map((row) => ({ shardId: row.shard, atMs: row.at_ms }))
  }

  /** Lets `count` identifies pass whatever reserve and breaker say; 0 takes that back. */
  async allow(count: number): Promise<void> {
    await this.#database.query(
      `insert into gateway_identify_allowance (bot_user_id, remaining) values ($1, $2)
       on conflict (bot_user_id) do update set remaining = excluded.remaining, updated_at = now()`,
      [this.#fleet.botUserId, count],
    )
  }

  /** How many of them are left. */
  async allowance(): Promise<number> {
    const [row] = await this.#database.query<{ remaining: number }>(
      'select remaining from gateway_identify_allowance where bot_user_id = $1',
      [this.#fleet.botUserId],
    )
    return row?.remaining ?? 0
  }

  /** The shards with the most identifies since a wall time in ms (inclusive), the most first. */
  async busiest(
    sinceMs: number,
    shardsMax: number,
  ): Promise<{ shard: number; identifies: number }[]> {
    return this.#database.query<{ shard: number; identifies: number }>(
      `select shard, count(*)::int4 as identifies from gateway_identifies
       where bot_user_id = $1 and sent_at >= to_timestamp($2::float8 / 1000)
       group by shard order by identifies desc, shard limit $3`,
      [this.#fleet.botUserId, sinceMs, shardsMax],
    )
  }

  /** Uses up one of them, for whichever worker asks first; false: there is none. */
  async takeAllowance(): Promise<boolean> {
    const rows = await this.#database.query(
      `update gateway_identify_allowance set remaining = remaining - 1, updated_at = now()
       where bot_user_id = $1 and remaining > 0 returning remaining`,
      [this.#fleet.botUserId],
    )
    return rows.length === 1
  }
}
