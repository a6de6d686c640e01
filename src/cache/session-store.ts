/**
 * Session rows: what a RESUME needs, and the fence that says who may write for the shard.
 */
import pg from 'pg'
import type { Log } from '../base/index.ts'
import type { Connection, Database, Queryable } from './database.ts'
import { type Fence, lockShared, SHARD_LOCK_KEY } from './fences.ts'
import type { Fleet } from './fleet.ts'

/** A holder that keeps a take-over waiting this long is stopped or stuck: its backend is terminated. */
const TAKE_OVER_WAIT_MS = 3000
const TAKE_OVER_ATTEMPTS_MAX = 5
/** lock_not_available: lock_timeout passed. See PostgreSQL Appendix A. */
const LOCK_NOT_AVAILABLE = '55P03'

export interface StoredSession {
  readonly sessionId: string
  readonly resumeGatewayUrl: string
  readonly sequence: number
  readonly shardCount: number
  readonly intents: number
  readonly query: {
    readonly v: number
    readonly encoding: 'etf' | 'json'
    readonly compress: 'zlib-stream' | 'zstd-stream' | 'none'
  }
}

export interface AcknowledgedSequence {
  readonly shardId: number
  readonly fence: Fence
  readonly sessionId: string
  readonly sequence: number
}

interface SessionRow {
  readonly session_id: string | null
  readonly resume_gateway_url: string
  readonly sequence: string
  readonly shard_count: number
  readonly intents: number
  readonly v: number
  readonly encoding: 'etf' | 'json'
  readonly compress: 'zlib-stream' | 'zstd-stream' | 'none'
}

/** What one spill holds; see the shard room's port of the same name. */
export interface SpillHolding {
  readonly spillId: string
  readonly destination: string
  readonly takenOver: readonly string[]
  readonly ranges: readonly {
    readonly shardId: number
    readonly sessionId: string
    readonly from: number
    readonly to: number
    readonly events: number
  }[]
}

/** `and this is still our fence`, with the fence as $3 and $4. */
const OWN_FENCE = 'fence_epoch = $3 and fence_revision = $4'

export class SessionStore {
  readonly #database: Database
  readonly #fleet: Fleet
  readonly #owner: string
  readonly #log: Log
  /** Of their own, so that a take-over that waits holds up nothing else. */
  #takeOvers: Promise<Connection> | null = null
  #saves: Promise<Connection> | null = null

  /** @param deps.owner  who we are, for people who look into the table: host and pid, or a worker's name. */
  constructor(deps: {
    readonly database: Database
    readonly fleet: Fleet
    readonly owner: string
    readonly log: Log
  }) {
    this.#database = deps.database
    this.#fleet = deps.fleet
    this.#owner = deps.owner
    this.#log = deps.log
  }

  /**
   * Writes the fence if it is not lower than the stored one (the first take-over inserts the row) and
   * reads the row in the same statement. Waits for transactions that speak for the shard, at most 3 s
   * each: then their backend is terminated.
   *
   * @returns `owned: false` when a higher fence is stored.
   */
  async takeOver(
    shardId: number,
    fence: Fence,
  ): Promise<{ owned: boolean; session: StoredSession | null }> {
    for (let attempt = 1; ; attempt++) {
      try {
        const row = await this.#takeOverOnce(shardId, fence)
        return { owned: row !== undefined, session: row === undefined ? null : sessionOf(row) }
      } catch (error) {
        const isStuck = error instanceof pg.DatabaseError && error.code === LOCK_NOT_AVAILABLE
        if (!isStuck || attempt === TAKE_OVER_ATTEMPTS_MAX) throw error
        await this.#terminateHolders(shardId)
      }
    }
  }

  /** Stores a new session at once. False: the fence is lost. */
  async saveSession(shardId: number, fence: Fence, session: StoredSession): Promise<boolean> {
    const rows = await this.#transaction(async (tx) => {
      const locked = lockShared(tx, [shardId])
      const saved = tx.query(
        `update gateway_sessions
         set session_id = $5, resume_gateway_url = $6, sequence = $7, shard_count = $8, intents = $9,
             v = $10, encoding = $11, compress = $12, bot_user_id = $13, owner = $14, updated_at = now()
         where name = $1 and shard = $2 and ${OWN_FENCE}
         returning shard`,
        [
          this.#fleet.name,
          shardId,
          fence.epoch,
          fence.revision,
          session.sessionId,
          session.resumeGatewayUrl,
          session.sequence,
          session.shardCount,
          session.intents,
          session.query.v,
          session.query.encoding,
          session.query.compress,
          this.#fleet.botUserId,
          this.#owner,
        ],
        'gateway_save_session',
      )
      return (await Promise.all([locked, saved]))[1]
    })
    return rows.length === 1
  }

  /** Forgets a session that Discord refused, if it is still the stored one. False: the fence is lost. */
  async dropSession(shardId: number, fence: Fence, sessionId: string): Promise<boolean> {
    const rows = await this.#transaction(async (tx) => {
      const locked = lockShared(tx, [shardId])
      const dropped = tx.query(
        `update gateway_sessions
         set session_id = case when session_id = $5 then null else session_id end, updated_at = now()
         where name = $1 and shard = $2 and ${OWN_FENCE}
         returning shard`,
        [this.#fleet.name, shardId, fence.epoch, fence.revision, sessionId],
        'gateway_drop_session',
      )
      return (await Promise.all([locked, dropped]))[1]
    })
    return rows.length === 1
  }

  /**
   * Raises acknowledged sequences, many shards in one statement; names the session and only raises.
   * In the same transaction what spills hold replaces what was stored of them.
   *
   * @returns the shards whose fence is lost.
   */
  async saveAcknowledged(
    entries: readonly AcknowledgedSequence[],
    spills: readonly SpillHolding[] = [],
  ): Promise<number[]> {
    if (entries.length === 0 && spills.length === 0) return []
    const sorted = [...entries].sort((a, b) => a.shardId - b.shardId)
    const shards = sorted.map((entry) => entry.shardId)
    const owned = await this.#transaction(async (tx) => {
      const locked = lockShared(tx, shards)
      const saved = tx.query<{ shard: number }>(
        `with entry as (
           select * from unnest($2::int4[], $3::int8[], $4::int8[], $5::text[], $6::int8[])
             as entry (shard, epoch, revision, session_id, sequence)
         ), owned as (
           select entry.shard, entry.sequence, stored.session_id = entry.session_id as is_same, stored.sequence as old
           from entry join gateway_sessions stored
             on stored.name = $1 and stored.shard = entry.shard
             and stored.fence_epoch = entry.epoch and stored.fence_revision = entry.revision
         ), raised as (
           update gateway_sessions stored set sequence = owned.sequence, updated_at = now()
           from owned
           where stored.name = $1 and stored.shard = owned.shard and owned.is_same and owned.old < owned.sequence
         )
         select shard from owned`,
        [
          this.#fleet.name,
          shards,

          sorted.map((entry) => entry.fence.epoch),
          sorted.map((entry) => entry.fence.revision),
          sorted.map((entry) => entry.sessionId),
          sorted.map((entry) => entry.sequence),
        ],
        'gateway_save_acknowledged',
      )
      const held = spills.length === 0 ? [] : this.#saveSpills(tx, spills)
      return (await Promise.all([locked, saved, held]))[1]
    })
    const ownedShards = new Set(owned.map(({ shard }) => shard))
    return shards.filter((shard) => !ownedShards.has(shard))
  }

  /** Whether the stored fence of the shard is still exactly this one. */
  async holds(shardId: number, fence: Fence): Promise<boolean> {
    const rows = await this.#database.query(
      `select shard from gateway_sessions where name = $1 and shard = $2 and ${OWN_FENCE}`,
      [this.#fleet.name, shardId, fence.epoch, fence.revision],
    )
    return rows.length === 1
  }

  /** Closes its connections. */
  async close(): Promise<void> {
    await (await this.#saves)?.close()
    await (await this.#takeOvers)?.close()
  }

  async #takeOverOnce(shardId: number, fence: Fence): Promise<SessionRow | undefined> {
    this.#takeOvers ??= this.#database.connect('take-over')
    const connection = await this.#takeOvers
    const rows = await connection.transaction(async (tx) => {
      const locked = [
        tx.query(`set local lock_timeout = ${TAKE_OVER_WAIT_MS}`),
        tx.query(`select pg_advisory_xact_lock(${SHARD_LOCK_KEY}, $1)`, [shardId]),
      ]
      const taken = tx.query<SessionRow>(
        `insert into gateway_sessions as stored (name, shard, fence_epoch, fence_revision, owner)
         values ($1, $2, $3, $4, $5)
         on conflict (name, shard) do update
           set fence_epoch = excluded.fence_epoch, fence_revision = excluded.fence_revision, owner = excluded.owner
           where (stored.fence_epoch, stored.fence_revision) <= (excluded.fence_epoch, excluded.fence_revision)
         returning session_id, resume_gateway_url, sequence, shard_count, intents, v, encoding, compress`,
        [this.#fleet.name, shardId, fence.epoch, fence.revision, this.#owner],
      )
      await Promise.all([...locked, taken])
      return taken
    })
    return rows[0]
  }

  #saveSpills(tx: Queryable, spills: readonly SpillHolding[]): Promise<unknown> {
    const rows = spills.flatMap((spill) => spill.ranges.map((range) => ({ ...spill, ...range })))
    return tx.query(
      `with held as (
         select * from unnest($3::uuid[], $4::int4[], $5::text[], $6::text[], $7::int8[], $8::int8[], $9::int8[])
           as held (spill_id, shard, session_id, destination, first, last, events)
       ), gone as (
         delete from gateway_spills stored
         where stored.name = $1 and stored.spill_id = any($10::uuid[]) and not exists (
           select from held where held.spill_id = stored.spill_id and held.shard = stored.shard
             and held.session_id = stored.session_id)
       )
       insert into gateway_spills as stored
         (name, worker, spill_id, shard, session_id, destination, first_sequence, last_sequence, events)
       select $1, $2, * from held
       on conflict (name, spill_id, shard, session_id) do update
         set worker = excluded.worker, first_sequence = excluded.first_sequence,
             last_sequence = excluded.last_sequence, events = excluded.events, updated_at = now()`,
      [
        this.#fleet.name,
        this.#owner,
        rows.map((row) => row.spillId),
        rows.map((row) => row.shardId),
        rows.map((row) => row.sessionId),
        rows.map((row) => row.destination),
        rows.map((row) => row.from),
        rows.map((row) => row.to),
        rows.map((row) => row.events),
        spills.flatMap(({ spillId, takenOver }) => [spillId, ...takenOver]),
      ],
      'gateway_save_spills',
    )
  }

  async #terminateHolders(shardId: number): Promise<void> {
    if (!this.#database.capabilities.hasTimeouts) return
    const rows = await this.#database.query<{ pid: number; application: string }>(
      `select held.pid, activity.application_name as application, pg_terminate_backend(held.pid)
       from pg_locks held join pg_stat_activity activity using (pid)
       where held.locktype = 'advisory' and held.granted and held.objsubid = 2
         and held.database = (select oid from pg_database where datname = current_database())
         and held.classid = ${SHARD_LOCK_KEY} and held.objid = $1`,
      [shardId],
    )
    for (const { pid, application } of rows) {
      this.#log.warn('terminated a database session that held up a take-over', {
        shardId,
        pid,
        application,
      })
    }
  }

  async #transaction<T>(work: (tx: Queryable) => Promise<T>): Promise<T> {
    this.#saves ??= this.#database.connect('sessions')
    return await (await this.#saves).transaction(work)
  }
}

function sessionOf(row: SessionRow): StoredSession | null {
  if (row.session_id === null) return null
  return {
    sessionId: row.session_id,
    resumeGatewayUrl: row.resume_gateway_url,
    sequence: Number(row.sequence),
    shardCount: row.shard_count,
    intents: row.intents,
    query: { v: row.v, encoding: row.encoding, compress: row.compress },
  }
}
