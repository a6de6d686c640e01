/**
 * What one would build today: @discordjs/ws in JSON over zlib-stream, one RPUSH of JSON text per event, and with
 * a cache one upsert per event that changes something.
 */
import { REST } from '@discordjs/rest'
import { CompressionMethod, WebSocketManager, WebSocketShardEvents } from '@discordjs/ws'
import { Redis } from 'ioredis'
import pg from 'pg'
import { ALL_INTENTS } from '../../../src/discord/index.ts'
import { readRivalOptions, reportTo } from '../rival.ts'

interface Payload {
  readonly t: string
  readonly d: { readonly guild_id: string; readonly user?: { readonly id: string } }
}

const UPSERT = `insert into $ (guild_id, user_id, data) values ($1, $2, $3)
on conflict (guild_id, user_id) do update set data = excluded.data`
const TABLES: Readonly<Record<string, string>> = {
  PRESENCE_UPDATE: 'rival_presence',
  GUILD_MEMBER_UPDATE: 'rival_members',
}

const options = readRivalOptions()
const redis = new Redis(options.redisPort, '127.0.0.1')
const pool = options.psql === null ? null : new pg.Pool({ connectionString: options.psql, max: 8 })
for (const table of Object.values(TABLES)) {
  await pool?.query(
    `create table if not exists ${table} (guild_id bigint, user_id bigint, data jsonb, primary key (guild_id, user_id))`,
  )
}
let events = 0

const manager = new WebSocketManager({
  token: 'MTEwMDAwMDAwMDAwMDAwMDAwMQ.bench.bench',
  intents: ALL_INTENTS,
  rest: new REST({ api: options.api }).setToken('MTEwMDAwMDAwMDAwMDAwMDAwMQ.bench.bench'),
  compression: CompressionMethod.ZlibNative,
  shardCount: options.shards,
})
manager.on(WebSocketShardEvents.Dispatch, (received) => {
  const payload = received as unknown as Payload
  if (payload.t === 'READY' || payload.t === 'RESUMED') return
  events++
  const text = JSON.stringify(payload)
  void redis.rpush(options.prefix + payload.t, text)
  const table = TABLES[payload.t]
  if (pool === null || table === undefined) return
  const { guild_id, user } = payload.d
  const upsert = UPSERT.replace('$', () => table)
  void pool.query({
    name: table,
    text: upsert,
    values: [guild_id, user?.id ?? null, JSON.stringify(payload.d)],
  })
})
manager.on(WebSocketShardEvents.Error, (error) => console.error(error))
reportTo(() => events)
await manager.connect()
