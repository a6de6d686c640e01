/**
 * Keeps the bot's voice connections in Postgres: VOICE_STATE_UPDATE of the bot and VOICE_SERVER_UPDATE, the last of each per guild.
 *
 *   event ─► changes, one per guild ─► one transaction under the fences ─► acknowledged
 *
 * They come a few times an hour and guild, so they have a writer of their own beside the cache's lanes: it is there with
 * -cache none too, and holds up nobody. An event is acknowledged when its row is committed, so a take-over replays what is not.
 */
import { backoffMs, type Clock, type Log, messageOf, type Random, sleep } from '../../base/index.ts'
import {
  ByteBuffer,
  EtfError,
  FieldReader,
  isNil,
  snowflakeAt,
  termToJson,
} from '../../etf/index.ts'
import type { CacheEvent } from '../cache-event.ts'
import type { Connection, Database, Queryable } from '../database.ts'
import { type Fence, isSameFence, lockShared, readFences } from '../fences.ts'
import type { VoiceSeal } from './voice-seal.ts'

/** Where the store says what it has taken and what is through; the shape of shard's AckLane. */
interface VoiceAcks {
  submit(shardId: number, position: number): void
  done(shardId: number, position: number): void
}

export interface VoiceEvent extends CacheEvent {
  readonly position: number
}

export interface VoiceStoreDeps {
  readonly database: Database
  readonly fleetName: string
  readonly botUserId: bigint
  readonly shardCount: number
  readonly seal: VoiceSeal
  readonly acks: VoiceAcks
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
}

interface Change {
  readonly shardId: number
  /** What was stored before is gone. */
  isLeft: boolean
  state: Buffer | null
  server: Buffer | null
}

/** What waits for the database. */
interface Pending {
  readonly changes: Map<bigint, Change>
  /** Shards with a new session: Discord has ended the voice sessions of the old one. */
  readonly begun: Set<number>
  readonly positions: Map<number, number>
}

/** Guilds with a change that is not written; more are dropped, and said once per batch. */
const GUILDS_MAX = 50_000
const RETRY = { baseMs: 100, maxMs: 5000 } as const

export class VoiceStore {
  readonly #deps: VoiceStoreDeps
  readonly #fences = new Map<number, Fence>()
  readonly #state = new FieldReader(['guild_id', 'user_id', 'channel_id'])
  readonly #guild = new FieldReader(['guild_id', 'id', 'unavailable'])
  readonly #stopped = new AbortController()
  #pending = empty()
  #connection: Promise<Connection> | null = null
  #running: Promise<void> | null = null

  constructor(deps: VoiceStoreDeps) {
    this.#deps = deps
  }

  /** From now on rows of the shard are written under this fence. */
  claim(shardId: number, fence: Fence): void {
    this.#fences.set(shardId, fence)
  }

  /**
   * READY, VOICE_STATE_UPDATE, VOICE_SERVER_UPDATE, GUILD_DELETE; others are ignored. Before the event counts as received.
   * Copies what it needs. One that cannot be read is passed over: the cache says so too.
   */
  onEvent(event: VoiceEvent): void {
    try {
      this.#onEvent(event)
    } catch (error) {
      if (!(error instanceof EtfError)) throw error
      this.#deps.log.warn('a voice event could not be read', { code: error.code })
    }
  }

  #onEvent(event: VoiceEvent): void {
    switch (event.eventName) {
      case 'READY':
        this.#onReady(event)
        return
      case 'VOICE_STATE_UPDATE':
        this.#onState(event)
        return
      case 'VOICE_SERVER_UPDATE':
        this.#onServer(event)
        return
      case 'GUILD_DELETE':
        this.#onDelete(event)
    }
  }

  /** Until what was taken is written. */
  async flush(): Promise<void> {
    while (this.#running !== null) await this.#running
  }

  async close(): Promise<void> {
    this.#stopped.abort()
    await this.#running
    await (await this.#connection?.catch(() => null))?.close()
  }

  #onReady(event: VoiceEvent): void {
    const pending = this.#pending
    pending.begun.add(event.shardId)
    for (const [guildId, { shardId }] of pending.changes) {
      if (shardId === event.shardId) pending.changes.delete(guildId)
    }
    this.#taken(event)
  }

  #onState(event: VoiceEvent): void {
    const { bytes } = event
    const fields = this.#state
    if (fields.read(bytes, event.start, event.end) < 0) return
    const { starts, ends } = fields
    if (starts[1]! < 0 || snowflakeAt(bytes, starts[1]!, ends[1]!) !== this.#deps.botUserId) return
    const guildId = starts[0]! < 0 ? null : snowflakeAt(bytes, starts[0]!, ends[0]!)
    if (guildId === null) return
    const change = this.#change(event, guildId)
    if (change === null) return
    // No channel: the bot has left.
    if (starts[2]! < 0 || isNil(bytes, starts[2]!, ends[2]!)) leave(change)
    else change.state = this.#sealed(event, guildId, 'state')
    this.#taken(event)
  }

  #onServer(event: VoiceEvent): void {
    const guildId = this.#guildOf(event, 0)
    const change = guildId === null ? null : this.#change(event, guildId)
    if (change === null) return
    change.server = this.#sealed(event, guildId!, 'server')
    this.#taken(event)
  }

  #onDelete(event: VoiceEvent): void {
    const guildId = this.#guildOf(event, 1)
    const { starts, ends } = this.#guild
    // The key `unavailable` set means an outage: the voice connection may live on.
    if (guildId === null || (starts[2]! >= 0 && !isNil(event.bytes, starts[2]!, ends[2]!))) return
    const change = this.#change(event, guildId)
    if (change === null) return
    leave(change)
    this.#taken(event)
  }

  #guildOf(event: VoiceEvent, path: number): bigint | null {
    const fields = this.#guild
    if (fields.read(event.bytes, event.start, event.end) < 0) return null
    const start = fields.starts[path]!
    return start < 0 ? null : snowflakeAt(event.bytes, start, fields.ends[path]!)
  }

  #change({ shardId }: VoiceEvent, guildId: bigint): Change | null {
    const { changes } = this.#pending
    let change = changes.get(guildId)
    if (change !== undefined) return change
    if (changes.size >= GUILDS_MAX) {
      this.#deps.log.warn('a voice connection is not kept: too many wait for the database', {
        guilds: GUILDS_MAX,
      })
      return null
    }
    change = { shardId, isLeft: false, state: null, server: null }
    changes.set(guildId, change)
    return change
  }

  #sealed({ bytes, start, end }: VoiceEvent, guildId: bigint, column: string): Buffer {
    const json = new ByteBuffer()
    termToJson(bytes, start, end, json)
    return this.#deps.seal.close(json.view(), placeOf(guildId, column))
  }

  #taken({ shardId, position }: VoiceEvent): void {
    this.#pending.positions.set(shardId, position)
    this.#deps.acks.submit(shardId, position)
    this.#running ??= this.#run().finally(() => {
      this.#running = null
    })
  }

  async #run(): Promise<void> {
    const { clock, random, log, acks } = this.#deps
    const { signal } = this.#stopped
    // What comes in the same turn is written together.
    await Promise.resolve()
    while (this.#pending.positions.size > 0 && !signal.aborted) {
      const batch = this.#pending
      this.#pending = empty()
      for (let attempt = 0; ; attempt++) {
        try {
          await this.#write(batch)
          break
        } catch (error) {
          if (signal.aborted) return
          const fields = { error: messageOf(error), attempt: attempt + 1 }
          if (attempt === 0)
            log.warn('voice connections could not be written, trying again', fields)
          await sleep(clock, backoffMs(attempt, random, RETRY), signal).catch(() => undefined)
          if (signal.aborted) return
        }
      }
      for (const [shardId, position] of batch.positions) acks.done(shardId, position)
    }
  }

  async #write({ changes, begun, positions }: Pending): Promise<void> {
    const { database, fleetName, shardCount } = this.#deps
    this.#connection ??= database.connect('voice')
    const connection = await this.#connection.catch((error: unknown) => {
      this.#connection = null
      throw error
    })
    const shards = [...positions.keys()].sort((a, b) => a - b)
    await connection.transaction(async (tx) => {
      await lockShared(tx, shards)
      const stored = await readFences(tx, fleetName, shards)
      const isOurs = (shardId: number): boolean =>
        isSameFence(this.#fences.get(shardId), stored.get(shardId))
      const old = [...begun].filter(isOurs)
      if (old.length > 0) {
        await tx.query(
          'delete from gateway_voice where (guild_id >> 22) % $1::int8 = any($2::int8[])',
          [shardCount, old],
          'gateway_voice_begin',
        )
      }
      const ours = [...changes]
        .filter(([, { shardId }]) => isOurs(shardId))
        .sort(([a], [b]) => (a < b ? -1 : 1))
      await writeChanges(tx, ours)
    })
  }
}

async function writeChanges(
  tx: Queryable,
  changes: readonly (readonly [bigint, Change])[],
): Promise<void> {
  const left = changes.filter(([, { isLeft }]) => isLeft).map(([guildId]) => guildId)
  if (left.length > 0) {
    const sql = 'delete from gateway_voice where guild_id = any($1::int8[])'
    await tx.query(sql, [left], 'gateway_voice_leave')
  }
  for (const [guildId, { state, server }] of changes) {
    if (state === null && server === null) continue
    await tx.query(
      `insert into gateway_voice as t (guild_id, state, server) values ($1::int8, $2::bytea, $3::bytea)
on conflict (guild_id) do update set state = coalesce(excluded.state, t.state),
  server = coalesce(excluded.server, t.server), updated_at = now()`,
      [guildId, state, server],
      'gateway_voice_put',
    )
  }
}

export function placeOf(guildId: bigint, column: string): string {
  return `${guildId}/${column}`
}

function leave(change: Change): void {
  change.isLeft = true
  change.state = null
  change.server = null
}

function empty(): Pending {
  return { changes: new Map(), begun: new Set(), positions: new Map() }
}
