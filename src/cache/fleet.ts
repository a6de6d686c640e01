import { STATE_KIND_NAMES, type StateKind } from '../discord/index.ts'
import type { Database } from './database.ts'
import { CacheError } from './errors.ts'
import { TABLES } from './tables.ts'
import { MISS_EVERYTHING } from './wide-changes.ts'

export interface FleetIdentity {
  readonly name: string
  /** The token's first part. */
  readonly botUserId: bigint
}

interface FleetRow {
  readonly name: string
  readonly bot_user_id: string
  readonly shard_count: number | null
  readonly intents: number | null
  readonly fleet_id: string
}

/** The one row that says whose database this is. */
export class Fleet {
  readonly name: string
  readonly botUserId: bigint
  /** Of this database's fleet alone, whatever its name. */
  readonly id: string
  #shardCount: number | null
  #intents: number | null
  readonly #database: Database

  private constructor(database: Database, identity: FleetIdentity, row: FleetRow) {
    this.#database = database
    this.name = identity.name
    this.botUserId = identity.botUserId
    this.id = row.fleet_id
    this.#shardCount = row.shard_count
    this.#intents = row.intents
  }

  /**
   * Writes the fleet's row into a database that nobody used, or proves that it is ours. After `migrate`.
   *
   * @throws CacheError CACHE_OTHER_BOT, CACHE_OTHER_FLEET
   */
  static async open(database: Database, identity: FleetIdentity): Promise<Fleet> {
    await database.query(
      'insert into gateway_fleet (name, bot_user_id) values ($1, $2) on conflict do nothing',
      [identity.name, identity.botUserId],
    )
    const [row] = await database.query<FleetRow>(
      'select name, bot_user_id, shard_count, intents, fleet_id from gateway_fleet',
    )
    if (row === undefined || row.bot_user_id !== identity.botUserId.toString()) {
      throw new CacheError(
        'CACHE_OTHER_BOT',
        `The database at ${database.address} belongs to the bot ${row?.bot_user_id ?? 'unknown'}, not to ${identity.botUserId}. Give this bot a database of its own.`,
        { address: database.address, bot: row?.bot_user_id ?? '' },
      )
    }
    if (row.name !== identity.name) {
      throw new CacheError(
        'CACHE_OTHER_FLEET',
        `The database at ${database.address} belongs to the fleet "${row.name}", not to "${identity.name}". Start with -name ${row.name}, or give this fleet a database of its own.`,
        { address: database.address, name: row.name },
      )
    }
    return new Fleet(database, identity, row)
  }

  /** Null until the first start stored it. */
  get shardCount(): number | null {
    return this.#shardCount
  }

  get intents(): number | null {
    return this.#intents
  }

  /** @returns the sessions of shards that the new count does not have; they are forgotten. */
  async saveShape(shape: {
    readonly shardCount: number
    readonly intents: number
  }): Promise<{ shardId: number; sessionId: string; sequence: number }[]> {
    await this.#database.query('update gateway_fleet set shard_count = $1, intents = $2', [
      shape.shardCount,
      shape.intents,
    ])
    this.#shardCount = shape.shardCount
    this.#intents = shape.intents
    const rows = await this.#database.query<{
      shard: number
      session_id: string
      sequence: string
    }>(
      `with left_over as (
         select shard, session_id, sequence from gateway_sessions
         where name = $1 and shard >= $2 and session_id is not null
       ), forgotten as (
         update gateway_sessions set session_id = null, updated_at = now()
         from left_over where name = $1 and gateway_sessions.shard = left_over.shard
       )
       select shard, session_id, sequence from left_over`,
      [this.name, shape.shardCount],
    )
    return rows.map((row) => ({
      shardId: row.shard,
      sessionId: row.session_id,
      sequence: Number(row.sequence),
    }))
  }

  /**
   * Stores which kinds of state are kept from now on. The rows of a kind that is no longer kept go, and those that are
   * left of one that was not kept; what is kept anew is whole when its guild is sent again.
   */
  async saveCached(
    kinds: readonly StateKind[],
  ): Promise<{ readonly added: readonly StateKind[]; readonly removed: readonly StateKind[] }> {
    const [row] = await this.#database.query<{ cached: StateKind[] | null }>(
      'select cached from gateway_fleet',
    )
    // Before it was stored, every kind was kept.
    const before = row?.cached ?? STATE_KIND_NAMES
    const added = kinds.filter((kind) => !before.includes(kind))
    const removed = before.filter((kind) => !kinds.includes(kind))
    for (const table of TABLES) {
      if (!added.includes(table.kind) && !removed.includes(table.kind)) continue
      await this.#database.query(`truncate ${table.name}`)
    }
    if (removed.includes('stickers')) {
      await this.#database.query(
        `update guilds set data = data - 'stickers' where data ? 'stickers'`,
      )
    }
    if (added.length > 0) await this.#database.query(MISS_EVERYTHING)
    await this.#database.query(
      'update gateway_fleet set cached = $1 where cached is distinct from $1',
      [kinds],
    )
    return { added, removed }
  }

  /**
   * Returns the epoch, raised where it must be. Without etcd at every call, so that the process started
   * last wins; with etcd when the kind of cluster changed, or when a fence of this epoch has a revision that
   * etcd has not come to: it lost its history. Who waits for another's raise sees it: one is enough.
   */
  async raiseEpoch(clusterKind: 'memory' | 'etcd', revision?: number): Promise<number> {
    const [raised] = await this.#database.query<{ epoch: string }>(
      `update gateway_fleet fleet set epoch = epoch + 1, cluster_kind = $1
       where $1 = 'memory' or cluster_kind <> $1 or exists (
         select from gateway_sessions where fence_epoch = fleet.epoch and fence_revision > $2::int8
       )
       returning epoch`,
      [clusterKind, revision ?? null],
    )
    // A statement of its own: that of above may have waited and would show what it saw before.
    const [row] =
      raised === undefined
        ? await this.#database.query<{ epoch: string }>('select epoch from gateway_fleet')
        : [raised]
    if (row === undefined) {
      throw new CacheError(
        'CACHE_NO_FLEET',
        `The database at ${this.#database.address} lost its fleet row. Restart the gateway on an intact database.`,
        { address: this.#database.address },
      )
    }
    return Number(row.epoch)
  }
}
