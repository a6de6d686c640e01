/** One cache under test, on Postgres or embedded, with an owner of its shards. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  memoryCounters,
  Secret,
  silentLog,
  systemClock,
  systemRandom,
} from '../../src/base/index.ts'
import {
  type CacheGap,
  type CacheWriter,
  type CacheWriterDeps,
  createCacheWriter,
  type Database,
  Fleet,
  migrate,
  openDatabase,
  SessionStore,
} from '../../src/cache/index.ts'
import { ALL_INTENTS } from '../../src/discord/index.ts'
import { encodeTerm } from '../../src/etf/index.ts'
import { freshDatabase } from '../support/postgres.ts'

export const KINDS = ['postgres', 'embedded'] as const
export type Kind = (typeof KINDS)[number]

export const BOT = 302_050_872_383_242_240n
export const GUILD = 613_425_648_685_547_541n
export const OTHER_GUILD = 681_641_606_398_607_401n

export const deps = {
  clock: systemClock,
  random: systemRandom,
  log: silentLog,
  counters: memoryCounters(),
}

type GuildClass = Parameters<CacheWriter['write']>[0]['guildClass']

export interface EventOptions {
  readonly guildClass?: GuildClass
  readonly shardId?: number
  readonly sessionId?: string
  readonly sequence?: number
}

export interface OpenDatabase {
  readonly database: Database
  /** Another connection pool to the same database; the embedded one has only itself. */
  reopen(): Promise<Database>
  close(): Promise<void>
}

/** A migrated database of its own. */
export async function openTestDatabase(kind: Kind): Promise<OpenDatabase> {
  if (kind === 'embedded') {
    const dataDir = mkdtempSync(join(tmpdir(), 'gateway-cache-'))
    const database = await openDatabase({ dataDir }, deps)
    await migrate(database, deps)
    return {
      database,
      reopen: () => Promise.resolve(database),
      async close() {
        await database.close()
        rmSync(dataDir, { recursive: true, force: true })
      },
    }
  }
  const fresh = await freshDatabase()
  const open = (): Promise<Database> =>
    openDatabase({ url: new Secret(fresh.url), name: 'test' }, deps)
  const database = await open()
  await migrate(database, deps)
  return {
    database,
    reopen: open,
    async close() {
      await database.close()
      await fresh.drop()
    },
  }
}

const TABLES = [
  'bans',
  'channels',
  'emojis',
  'gateway_fleet',
  'gateway_identifies',
  'gateway_replay_classes',
  'gateway_sessions',
  'gateway_spills',
  'guilds',
  'guilds_persistent',
  'members',
  'presence',
  'roles',
  'scheduled_events',
  'soundboard_sounds',
  'stage_instances',
  'threads',
  'voice_states',
]

export class TestCache {
  readonly database: Database
  readonly fleet: Fleet
  readonly sessions: SessionStore
  readonly writer: CacheWriter
  readonly gaps: CacheGap[] = []
  readonly lost: number[] = []
  readonly settled: [lane: number, ticket: number][] = []
  readonly away: boolean[] = []
  #sequence = 0

  private constructor(
    database: Database,
    fleet: Fleet,
    sessions: SessionStore,
    writer: CacheWriter,
  ) {
    this.database = database
    this.fleet = fleet
    this.sessions = sessions
    this.writer = writer
    writer.onSettled = (lane, ticket) => this.settled.push([lane, ticket])
    writer.onAway = (_lane, isAway) => this.away.push(isAway)
  }

  /** An empty cache; shards 0 to 3 are claimed under the revision. */
  static async open(
    database: Database,
    options: Partial<CacheWriterDeps> & {
      readonly revision?: number
      readonly keep?: boolean
    } = {},
  ): Promise<TestCache> {
    if (options.keep !== true) await database.query(`truncate ${TABLES.join(', ')}`)
    const fleet = await Fleet.open(database, { name: 'test', botUserId: BOT })
    const sessions = new SessionStore({ database, fleet, owner: 'test', log: silentLog })
    const holder: { cache?: TestCache } = {}
    const writer = await createCacheWriter({
      ...deps,
      database,
      fleet,
      intents: ALL_INTENTS,
      shardCount: 1,
      onGap: (gap) => holder.cache?.gaps.push(gap),
      onFenceLost: (shardId) => holder.cache?.lost.push(shardId),
      ...options,
    })
    const cache = new TestCache(database, fleet, sessions, writer)
    holder.cache = cache
    for (let shardId = 0; shardId < 4; shardId++) await cache.claim(shardId, options.revision ?? 1)
    return cache
  }

  async claim(shardId: number, revision: number): Promise<boolean> {
    const fence = { epoch: 1, revision }
    const { owned } = await this.sessions.takeOver(shardId, fence)
    if (owned) this.writer.claim(shardId, fence)
    return owned
  }

  /** Writes an event without waiting. */
  write(eventName: string, d: unknown, options: EventOptions = {}): number {
    return this.writeBytes(eventName, encodeTerm(d), options)
  }

  /** @param term with its version byte */
  writeBytes(eventName: string, term: Uint8Array, options: EventOptions = {}): number {
    this.#sequence = options.sequence ?? this.#sequence + 1
    const ticket = this.writer.write({
      shardId: options.shardId ?? 0,
      sessionId: options.sessionId ?? 'session',
      sequence: this.#sequence,
      eventName,
      guildClass: options.guildClass ?? '',
      bytes: term,
      start: 1,
      end: term.length,
    })
    // The bytes are valid during the call only.
    term.fill(0xff)
    return ticket
  }

  /** Writes events and waits until they are committed. */
  async commit(
    ...events: [eventName: string, d: unknown, options?: EventOptions][]
  ): Promise<void> {
    for (const [eventName, d, options] of events) this.write(eventName, d, options)
    await this.writer.flush()
  }

  /** One column of rows, in order. */
  async column<T>(sql: string): Promise<T[]> {
    const rows = await this.database.query<{ value: T }>(
      `select value from (${sql}) as t (value) order by 1`,
    )
    return rows.map((row) => row.value)
  }

  async close(): Promise<void> {
    await this.writer.close()
    await this.sessions.close()
  }
}

/** A small guild as GUILD_CREATE brings it. */
export function guildCreate(overrides: Record<string, unknown> = {}): Record<string, unknown> {
  return {
    id: GUILD,
    name: 'a guild',
    owner_id: user(1).id,
    member_count: 2,
    large: false,
    joined_at: '2020-01-01T00:00:00.000000+00:00',
    stickers: [],
    channels: [channel(1), channel(2)],
    emojis: [emoji(1)],
    members: [member(1), member(2)],
    presences: [presence(1, 'online')],
    roles: [role(1), role(2)],
    threads: [thread(1, 1)],
    voice_states: [
      { user_id: user(1).id, channel_id: channel(2).id, session_id: 'v', mute: false },
    ],
    ...overrides,
  }
}

interface WithId {
  readonly id: bigint
  readonly [key: string]: unknown
}

interface WithUser {
  readonly user: { readonly id: bigint }
  readonly [key: string]: unknown
}

const id = (kind: number, n: number): bigint => 700_000_000_000_000_000n + BigInt(kind * 1000 + n)

export const channel = (n: number, more: object = {}): WithId => ({
  id: id(1, n),
  type: 0,
  name: `channel ${n}`,
  ...more,
})
export const role = (n: number, more: object = {}): WithId => ({
  id: id(2, n),
  name: `role ${n}`,
  permissions: '104324673',
  ...more,
})
export const emoji = (n: number): WithId => ({ id: id(3, n), name: `emoji${n}` })
export const user = (n: number): { id: bigint; username: string } => ({
  id: id(4, n),
  username: `user${n}`,
})
export const thread = (n: number, channelNumber: number, more: object = {}): WithId => ({
  id: id(5, n),
  parent_id: id(1, channelNumber),
  owner_id: id(4, 1),
  guild_id: GUILD,
  name: `thread ${n}`,
  thread_metadata: { archived: false },
  member_count: 1,
  ...more,
})
export const member = (n: number, more: object = {}): WithUser => ({
  user: user(n),
  roles: [role(1).id],
  nick: null,
  joined_at: '2020-01-01T00:00:00.000000+00:00',
  ...more,
})
export const presence = (n: number, status: string, more: object = {}): object => ({
  user: { id: user(n).id },
  status,
  activities: [],
  ...more,
})
